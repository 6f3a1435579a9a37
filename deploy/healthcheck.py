"""Exit 0 when the service in this container is ready. Needs nothing but Python: the image has no curl."""

import os
import sys
import urllib.error
import urllib.request

PORT = os.environ.get("FACET_PORT") or "8000"
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # Docker may name a proxy in every container

try:
    with DIRECTLY.open(f"http://127.0.0.1:{PORT}/readyz", timeout=8) as answer:
        print(answer.read(2000).decode("utf-8", "replace"))
except urllib.error.HTTPError as refusal:
    sys.exit(f"not ready: {refusal.code} {refusal.read(2000).decode('utf-8', 'replace')}")
except OSError as error:
    sys.exit(f"no answer: {error}")
