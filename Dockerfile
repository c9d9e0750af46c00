# The container that GKE runs on each host of a slice of TPUs: docs/launch.md.
#
#     docker build -t REGION-docker.pkg.dev/PROJECT/REPOSITORY/vsft:1 . && docker push …
FROM python:3.12-slim

# Nothing of the system is needed: wheels bring their own FFmpeg and OpenCV.
WORKDIR /vsft-jax
# Packages before code: a changed line of code does not install them again.
COPY requirements.txt pyproject.toml README.md ./
RUN pip install --no-cache-dir -r requirements.txt "jax[tpu]" "gcsfs>=2026.9"
COPY . .
RUN pip install --no-cache-dir --no-deps -e .

# Signals reach vsft itself, which saves and ends.
ENTRYPOINT []
CMD ["vsft", "--help"]
