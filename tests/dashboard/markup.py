"""Texts that would be markup, script or style, if anything took them for that."""

from __future__ import annotations

from itertools import product

RUN = "window.ran=1"  # what each would do
_TAGS = r"""
<script>RUN</script>
<ScRiPt>RUN</sCrIpT>
<script src=data:text/javascript,RUN></script>
<img src=x onerror=RUN>
<img/src/onerror=RUN>
<svg onload=RUN>
<svg><script>RUN</script></svg>
<svg><animate onbegin=RUN attributeName=x dur=1s>
<body onload=RUN>
<iframe srcdoc='<script>parent.RUN</script>'>
<iframe src=javascript:RUN>
<a href=javascript:RUN>click</a>
<a href=' javascript:RUN'>click</a>
<form action=javascript:RUN><button>x</button></form>
<details open ontoggle=RUN>x</details>
<input autofocus onfocus=RUN>
<video><source onerror=RUN></video>
<audio src=x onerror=RUN>
<math><mtext></form><form><mglyph><style></math><img src onerror=RUN>
<style>@import 'javascript:RUN'</style>
<link rel=stylesheet href=javascript:RUN>
<meta http-equiv=refresh content='0;url=javascript:RUN'>
<base href=javascript:RUN//>
<object data=javascript:RUN>
<embed src=javascript:RUN>
<template><script>RUN</script></template>
<noscript><img src=x onerror=RUN></noscript>
<textarea><img src=x onerror=RUN></textarea>
<title><img src=x onerror=RUN></title>
<!--><img src=x onerror=RUN>-->
<![CDATA[<img src=x onerror=RUN>]]>
<x contenteditable onblur=RUN tabindex=1 autofocus>
<marquee onstart=RUN>x</marquee>
""".strip().splitlines()
_OTHERS = r"""
{{7*7}}
{{cycler.__init__.__globals__.os}}
{% for x in y %}
${{RUN}}
javascript:RUN
data:text/html,<script>RUN</script>
" onmouseover="RUN
' onfocus='RUN' autofocus='
` onload=`RUN
&lt;script&gt;RUN&lt;/script&gt;
<script>RUN</script>
</pre><script>RUN</script>
]]><script>RUN</script>
""".strip().splitlines()
_ODD = ("\x00<script>RUN</script>", "<\x00script>RUN</script>", "\ufeff<script>RUN</script>")
_BEFORE = ("", "\"'>", "</title></textarea></script></style></template>")  # what they may have to leave first

HOSTILE = [text.replace("RUN", RUN) for text in (*("".join(pair) for pair in product(_BEFORE, _TAGS)), *_OTHERS, *_ODD)]
"""Over a hundred."""
