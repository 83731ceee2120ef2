"""Asks a server over gRPC, in the server's environment: `python ask_grpc.py HOST:PORT < questions.json`.

A question is `[method, fields]`; bytes are written as `{"hex": "…"}`. The answers go to standard output, as JSON: the
message, or `{"code": …, "details": …}`.
"""

import json
import sys

import grpc
from google.protobuf import json_format
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services


def main() -> None:
    answers = []
    with grpc.insecure_channel(sys.argv[1], options=[('grpc.max_send_message_length', -1)]) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        for method, fields in json.load(sys.stdin):
            request = getattr(messages, f'{method}Request')(**to_bytes(fields))
            try:
                answers.append(json_format.MessageToDict(getattr(stub, method)(request, timeout=60)))
            except grpc.RpcError as error:
                answers.append({'code': error.code().name, 'details': error.details()})
    json.dump(answers, sys.stdout)


def to_bytes(value):
    if isinstance(value, list):
        return [to_bytes(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {'hex'}:
        return bytes.fromhex(value['hex'])
    return {name: to_bytes(one) for name, one in value.items()}


if __name__ == '__main__':
    main()
