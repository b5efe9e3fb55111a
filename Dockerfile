# Two stages: build with the Rust toolchain, run in a small image without one.
#   docker build -t afterword .
#   docker build -t afterword --build-arg FEATURES=passkeys .    # with what is not built by default
#   docker run -p 8080:8080 -v afterword:/data -e AFTERWORD__SERVER__PUBLIC_URL=https://comments.example.org afterword
FROM rust:1.95-slim-bookworm AS build
# The embedded SQLite is C.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ARG FEATURES=""
RUN cargo build --release --locked --features "$FEATURES" && cp target/release/afterword /afterword

FROM debian:bookworm-slim
# Certificates, so that TLS to mail servers and databases can be verified.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --create-home afterword
COPY --from=build /afterword /usr/local/bin/afterword
USER 10001
# The defaults, data/…, start here: the database, the key and the mails lie in /data. No variable says so, because one
# would win over a settings file.
WORKDIR /
VOLUME /data
ENV AFTERWORD__SERVER__LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s CMD ["afterword", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["afterword"]
CMD ["serve"]
