"""How each kind of client is told to trust the authority, with the real paths filled in."""

import shlex
from dataclasses import dataclass

from sallyport.pki.paths import CaPaths


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to trust. client: short word to ask for it by; steps: commands or settings, one a line."""

    client: str
    title: str
    steps: tuple[str, ...]


def recipes(paths: CaPaths) -> tuple[Recipe, ...]:
    """Return all recipes, the stores of operating systems first, since most clients read those.

    A variable that names a bundle replaces the client's own roots, so it gets the bundle; one that adds to
    them gets the certificate alone.
    """
    certificate, bundle = shlex.quote(str(paths.certificate)), shlex.quote(str(paths.bundle))
    return (
        Recipe(
            "debian",
            "Debian, Ubuntu, Alpine: the system store",
            (
                f"sudo install -m 644 {certificate} /usr/local/share/ca-certificates/sallyport.crt",
                "sudo update-ca-certificates",
            ),
        ),
        Recipe(
            "rhel",
            "RHEL, Fedora, Amazon Linux: the system store",
            (
                f"sudo install -m 644 {certificate} /etc/pki/ca-trust/source/anchors/sallyport.pem",
                "sudo update-ca-trust",
            ),
        ),
        Recipe(
            "macos",
            "macOS: the system keychain (Safari, Chrome, Swift, Go)",
            (
                "sudo security add-trusted-cert -d -r trustRoot "
                f"-k /Library/Keychains/System.keychain {certificate}",
            ),
        ),
        Recipe(
            "windows",
            "Windows: the machine store, in an administrator's prompt beside a copy of the file",
            (f"certutil -addstore -f Root {paths.certificate.name}",),
        ),
        Recipe(
            "python",
            "Python with httpx or httpx2: the SDKs of OpenAI, Anthropic and Google",
            (f"export SSL_CERT_FILE={bundle}",),
        ),
        Recipe("requests", "Python with requests", (f"export REQUESTS_CA_BUNDLE={bundle}",)),
        Recipe(
            "certifi",
            "Python that reads certifi alone (LangChain for Mistral): in each environment, after each update",
            (f'cat {certificate} >> "$(python -m certifi)"',),
        ),
        Recipe(
            "node",
            "Node.js: SDKs, and the coding assistants that run on it",
            (f"export NODE_EXTRA_CA_CERTS={certificate}",),
        ),
        Recipe("aws", "AWS command line, boto3", (f"export AWS_CA_BUNDLE={bundle}",)),
        Recipe("curl", "curl", (f"export CURL_CA_BUNDLE={bundle}",)),
        Recipe("git", "git", (f"git config --global http.sslCAInfo {bundle}",)),
        Recipe(
            "grpc", "gRPC (Google Cloud, xAI clients)", (f"export GRPC_DEFAULT_SSL_ROOTS_FILE_PATH={bundle}",)
        ),
        Recipe(
            "java",
            "Java 9 and newer: its own store, once for each installed JDK",
            (
                "sudo keytool -importcert -noprompt -cacerts -storepass changeit "
                f"-alias sallyport -file {certificate}",
            ),
        ),
        Recipe(
            "go",
            "Go: reads the system store; on Linux without one",
            (f"export SSL_CERT_FILE={bundle}",),
        ),
        Recipe("deno", "Deno", (f"export DENO_CERT={certificate}",)),
        Recipe(
            "docker",
            "Container images (Debian): lines of the Dockerfile, with the file in the build context",
            (
                f"COPY {paths.certificate.name} /usr/local/share/ca-certificates/sallyport.crt",
                "RUN update-ca-certificates",
                "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
                "ENV REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt",
                "ENV NODE_EXTRA_CA_CERTS=/usr/local/share/ca-certificates/sallyport.crt",
            ),
        ),
    )
