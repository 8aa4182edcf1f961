"""TLS as sslyze sees it: version 1.3 and nothing else, none of the faults that it knows."""

from __future__ import annotations

import json
import subprocess

import pytest

from cloche.web.adapters.server import ServerSettings
from cloche.web.adapters.tls import TlsSettings, self_signed
from cloche.web.app import App

from . import tools
from .background import Background

OLD = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")
SCANS = [
    *("sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "early_data", "compression"),
    *("heartbleed", "openssl_ccs", "robot", "reneg"),
]
NEW_CIPHERS = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}


def scan(folder, **options):
    """Return what sslyze found out."""
    command = tools.sslyze()
    if command is None:
        pytest.skip("sslyze is not there: python -m tests.web.checkers.tools")
    settings = ServerSettings(tls=TlsSettings(certificate=self_signed(["127.0.0.1"]), **options))
    with Background(App(), settings=settings) as server:
        what = (f"--{name}" for name in SCANS)
        command += [*what, f"--json_out={folder / 'report.json'}", server.address]
        subprocess.run(command, capture_output=True, timeout=100, check=False)
    (found,) = json.loads((folder / "report.json").read_text())["server_scan_results"]
    assert found["scan_status"] == "COMPLETED", found["connectivity_error_trace"]
    return {
        name: part["result"]
        for name, part in found["scan_result"].items()
        if part["status"] == "COMPLETED"
    }


def ciphers(found, version):
    """Return the names of the ciphers that were agreed on."""
    accepted = found[f"{version}_cipher_suites"]["accepted_cipher_suites"]
    return {each["cipher_suite"]["name"] for each in accepted}


def check_faults(found):
    """Check that none of the known faults is there."""
    assert found["heartbleed"]["is_vulnerable_to_heartbleed"] is False
    assert found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"] is False
    assert found["tls_compression"]["supports_compression"] is False
    assert found["tls_1_3_early_data"]["supports_early_data"] is False
    assert found["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"] is False
    assert found["robot"]["robot_result"].startswith("NOT_VULNERABLE")


def test_the_default(tmp_path):
    """TLS 1.3 alone, with its ciphers."""
    found = scan(tmp_path)
    assert [ciphers(found, version) for version in (*OLD, "tls_1_2")] == [set()] * 5
    assert ciphers(found, "tls_1_3") == NEW_CIPHERS
    check_faults(found)


def test_version_1_2_where_it_is_asked_for(tmp_path):
    """It has ephemeral keys and authenticated ciphers; what is older stays refused."""
    found = scan(tmp_path, min_version="TLS1.2")
    assert [ciphers(found, version) for version in OLD] == [set()] * len(OLD)
    agreed = ciphers(found, "tls_1_2")
    assert agreed
    assert all(
        name.startswith("TLS_ECDHE_") and ("_GCM_" in name or "_CHACHA20_" in name)
        for name in agreed
    )
    check_faults(found)
