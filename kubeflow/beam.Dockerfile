# The image of Beam's workers: the pipeline's image, with Beam's boot program as its entry point. docs/scaling.md says
# which engine starts it, and how.
ARG IMAGE=emotion-pipeline:latest
# Beam's release has to be that of the lock.
ARG BEAM=docker.io/apache/beam_python3.11_sdk:2.62.0

FROM ${BEAM} AS beam

FROM ${IMAGE}
USER root
# Boot asks pip whether Beam is installed, and would go no further without. Python brings this pip along.
RUN python -m ensurepip
COPY --from=beam /opt/apache/beam /opt/apache/beam
USER 1000:0
# Boot shall run Python as it is here, instead of making an environment of its own at every start.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
ENTRYPOINT ["/opt/apache/beam/boot"]
CMD []
