"""TLS contexts from the options --cert, --key, --ca-file and --insecure."""

from __future__ import annotations

import argparse
import os
import ssl
from typing import Optional

from .faults import Failure


def client_context(options: argparse.Namespace) -> Optional[ssl.SSLContext]:
    """For `connect` and `bench`; None where no option asks for something.

    Raises:
        Failure: a file cannot be used.
    """
    if not options.insecure and options.ca_file is None and options.cert is None:
        return None
    context = _trusting(options.ca_file)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.cert is not None:
        _load_certificate(context, options.cert, options.key)
    return context


def server_context(cert: Optional[str], key: Optional[str]) -> Optional[ssl.SSLContext]:
    """For `serve`; None without a certificate.

    Raises:
        Failure: a file cannot be used.
    """
    if cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load_certificate(context, cert, key)
    return context


def _trusting(ca_file: Optional[str]) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise Failure(f"--ca-file {ca_file} holds no certificate in PEM") from None
    except OSError as exc:
        raise Failure(f"--ca-file {ca_file} cannot be read: {exc.strerror}") from None


def _load_certificate(context: ssl.SSLContext, cert: str, key: Optional[str]) -> None:
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as exc:
        raise Failure(f"--cert {cert} and its key cannot be used: {exc.reason or exc}") from None
    except OSError as exc:
        files = [file for file in (cert, key) if file and not os.access(file, os.R_OK)]
        raise Failure(f"{' and '.join(files) or cert} cannot be read: {exc.strerror}") from None
