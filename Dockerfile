# A model as a service: docker build -t emotions . && docker run -p 8000:8000 emotions
# --build-arg TORCH_INDEX=ADDRESS, of PyTorch's index of CPU builds, makes the image several GB smaller.
FROM python:3.12-slim
ARG TORCH_INDEX=
WORKDIR /opt/modeling-ser
COPY . .
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        --constraint constraints.txt ".[formats,serve,vad]" ./weights/emotions \
    && useradd --create-home ser
USER ser
WORKDIR /home/ser
EXPOSE 8000
HEALTHCHECK --start-period=1m CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=9)"]
ENTRYPOINT ["ser", "serve", "--host", "0.0.0.0"]
