"""Ways in which a server may spell a secret that it repeats."""

import base64
import html
import json
from urllib.parse import quote

SPELLINGS = {
    "as it is": lambda s: s,
    "JSON": lambda s: json.dumps(s)[1:-1],
    "JSON with escaped slashes": lambda s: json.dumps(s)[1:-1].replace("/", "\\/"),
    "JSON escapes throughout": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "JSON escapes in capitals": lambda s: "".join(f"\\u{ord(c):04X}" for c in s),
    "one JSON escape": lambda s: f"\\u{ord(s[0]):04x}{json.dumps(s[1:])[1:-1]}",
    "JSON in JSON": lambda s: json.dumps(json.dumps(s))[1:-1],
    "Python": lambda s: repr(s)[1:-1],
    "Python escapes throughout": lambda s: "".join(f"\\x{ord(c):02x}" for c in s),
    "URL": lambda s: quote(s, safe=""),
    "URL throughout": lambda s: "".join(f"%{ord(c):02X}" for c in s),
    "URL in lower case": lambda s: "".join(f"%{ord(c):02x}" for c in s),
    "URL twice": lambda s: quote(quote(s, safe=""), safe=""),
    "HTML": html.escape,
    "HTML numbers": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "HTML hexadecimal numbers": lambda s: "".join(f"&#x{ord(c):x};" for c in s),
    "HTML names": lambda s: s.replace("&", "&amp;").replace("/", "&sol;").replace("+", "&plus;"),
    "HTML twice": lambda s: html.escape(html.escape(s)),
    "JSON in a URL": lambda s: quote(json.dumps(s)[1:-1], safe=""),
    "URL in JSON": lambda s: "".join(f"\\u{ord(c):04x}" for c in quote(s, safe="")),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "base64 after one byte": lambda s: base64.b64encode(b":" + s.encode()).decode(),
    "base64 of a header": lambda s: base64.b64encode(b"Bearer " + s.encode() + b"\r\n").decode(),
    "base64 in JSON": lambda s: base64.b64encode(s.encode()).decode().replace("/", "\\/"),
    "hexadecimal": lambda s: s.encode().hex(),
}
