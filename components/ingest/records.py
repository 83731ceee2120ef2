"""Writes Examples as TFRecords, a block of them at a time."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO, Final

import google_crc32c
from apache_beam.coders import BytesCoder
from apache_beam.io.filebasedsink import FileBasedSink
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

# The PNG, most of an Example, is compressed already: once more would cost as much as the PNG did, for a seventh of the
# bytes, and every reader would pay again. TFX and TensorFlow read gzip files, compressed or not.
_LEVEL: Final = 0
_GZIP: Final = 16 + zlib.MAX_WBITS
_CRC_MASK: Final = 0xA282EAD8


class ExampleSink(FileBasedSink):
    """`<prefix>-SSSSS-of-NNNNN.gz`, gzipped TFRecords; each element is a sequence of serialized Examples.

    Args:
        prefix: of the files' paths.
        is_single: whether it is one file, `<prefix>.gz`.
    """

    def __init__(self, prefix: str, is_single: bool = False):
        super().__init__(
            prefix,
            BytesCoder(),  # not asked: `write_record` writes what it is given
            '.gz',
            num_shards=1 if is_single else 0,
            shard_name_template='' if is_single else None,
            compression_type=CompressionTypes.UNCOMPRESSED,
        )

    def open(self, temp_path: str) -> '_Gzip':
        return _Gzip(FileSystems.create(temp_path, self.mime_type, self.compression_type))

    def write_record(self, file_handle: '_Gzip', value: Sequence[bytes]) -> None:
        file_handle.write(b''.join(map(framed, value)))


def framed(record: bytes) -> bytes:
    """The record as a TFRecord file holds it: its length, itself, and the masked CRC-32C of either."""
    length = struct.pack('<Q', len(record))
    return b''.join((length, _masked_crc(length), record, _masked_crc(record)))


def _masked_crc(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack('<I', ((crc >> 15 | crc << 17) + _CRC_MASK) & 0xFFFFFFFF)


class _Gzip:
    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._compressor: Any = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)

    def write(self, content: bytes) -> None:
        self._stream.write(self._compressor.compress(content))

    def close(self) -> None:
        self._stream.write(self._compressor.flush())
        self._stream.close()
