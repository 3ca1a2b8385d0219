"""What a page needs that is one file and loads nothing: policy, files to save, data and scripts that end no element."""

import base64
import hashlib
import json


def policy(script: str, more: str = "") -> str:
    """The content security policy: this very script, styles and pictures within the page, and nothing else.

    `more` is what the script may do beside, such as "'wasm-unsafe-eval'".
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = " ".join(filter(None, (f"'sha256-{digest}'", more)))
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def as_data(data: dict[str, object]) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins another."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def as_file(text: str) -> str:
    """The address of a file of JSON that is in the page: a link may save it, and nothing is loaded."""
    return f"data:application/json;base64,{as_base64(text.encode())}"


def as_script(text: str) -> str:
    """JavaScript that can stand in a script element."""
    return text.replace("</script", r"<\/script").replace("<!--", r"\x3c!--")


def as_base64(content: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(content).decode()
