"""Servers behind TLS and a login, through MLflow's own variables; no password on disk, on screen or in a run."""

from __future__ import annotations

import base64
import datetime
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nas_ray._secrets import has_secret, redacted
from nas_ray.errors import SpecError
from nas_ray.spec import load_trial
from nas_ray.tracking import MlflowTracker
from tests.tracking.conftest import open_door
from tests.tracking.test_mlflow import runs, tell

Open = Callable[[str], MlflowTracker]
WORD = "pass-word"
LOGIN = "Basic " + base64.b64encode(f"me:{WORD}".encode()).decode()


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1, signed by itself."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "server.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def guarded(server: Any, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An MLflow server behind TLS and a login: its URI and its certificate."""
    server.start()

    pem = certificate(tmp_path)
    door = open_door(server.port, lambda request: request.headers.get("Authorization") == LOGIN)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    door.socket = context.wrap_socket(door.socket, server_side=True)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{door.server_address[1]}", pem
    door.shutdown()
    door.server_close()


def test_tls_and_a_login_by_mlflows_own_variables(
    guarded: tuple[str, Path], open_tracker: Open, warned: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri, pem = guarded
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(pem))
    tracker = open_tracker(uri)
    tell(tracker, range(2))
    assert not tracker.flush(60)
    assert "401" in warned[0]
    assert "MLFLOW_TRACKING_USERNAME" in warned[0]
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", WORD)
    tracker.summary({}, {})
    assert tracker.close(120)
    found = runs(uri)
    assert len(found) == 3
    assert {run.info.status for run in found} == {"FINISHED"}
    assert_nowhere([*warned, *(str(run.to_dictionary()) for run in found)], tmp_path / "run")


def test_a_password_in_the_uri_is_on_no_disk_and_no_screen(
    open_tracker: Open, warned: list[str], tmp_path: Path
) -> None:
    tracker = open_tracker(f"http://me:{WORD}@127.0.0.1:9")
    tell(tracker, range(2))
    assert not tracker.close(5)
    assert "http://me:***@127.0.0.1:9" in warned[0]
    assert_nowhere(warned, tmp_path / "run")


def assert_nowhere(texts: list[str], folder: Path) -> None:
    assert not any(WORD in text for text in texts)
    assert not any(WORD.encode() in file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "uri", [f"https://me:{WORD}@host", f"postgresql+psycopg2://me:{WORD}@host/db", f"mysql://host/db?password={WORD}"]
)
def test_a_spec_with_a_password_is_refused_without_showing_it(uri: str) -> None:
    with pytest.raises(SpecError, match="MLFLOW_TRACKING_PASSWORD") as error:
        load_trial("quickstart", [f"tracking.uri={uri}"])
    assert WORD not in str(error.value)
    assert error.value.key == "tracking"
    load_trial("quickstart", ["tracking.uri=https://me@host:5000/mlflow"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:a@b:c@host:80/x", "http://me:***@host:80/x"),
        ("failed: postgresql://u:p@h/d, see", "failed: postgresql://u:***@h/d, see"),
        ("https://h/?api_key=abc&x=1", "https://h/?api_key=***&x=1"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////tmp/a:b@c/mlflow.db", "sqlite:////tmp/a:b@c/mlflow.db"),
    ],
)
def test_redacted(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert has_secret(text) == (text != shown)
