"""Writes `reports/templates/vega/vega.js`: the JavaScript of Vega, Vega-Lite and vega-embed that a report contains.

    python docs/_vega.py    # needs vl-convert-python

The file is tracked, so that writing a report needs neither the network nor a JavaScript engine.
"""

from __future__ import annotations

from pathlib import Path

import vl_convert

FILE = Path(__file__).parents[1] / "reports" / "templates" / "vega" / "vega.js"
LICENSE = """\
/*!
 * Vega {vega}, Vega-Lite {lite} and vega-embed {embed}, bundled by vl-convert {convert}.
 * With the modules that they use, under BSD-3-Clause, ISC (d3) and MIT licenses.
 *
 * Vega: Copyright (c) 2015-2023, University of Washington Interactive Data Lab. All rights reserved.
 * Vega-Lite and vega-embed: Copyright (c) 2015-2018, University of Washington Interactive Data Lab.
 * d3: Copyright 2010-2023 Mike Bostock
 *
 * Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
 * following conditions are met:
 * 1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following
 *    disclaimer.
 * 2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the
 *    following disclaimer in the documentation and/or other materials provided with the distribution.
 * 3. Neither the name of the copyright holder nor the names of its contributors may be used to endorse or promote
 *    products derived from this software without specific prior written permission.
 *
 * THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
 * INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
 * DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
 * SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
 * SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
 * WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
 * OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
 */
"""


def bundle() -> str:
    """The text of the file. Raises ValueError if it could end the element of a page that holds it."""
    code = vl_convert.javascript_bundle()
    if "</script" in code.lower() or "<!--" in code:
        raise ValueError("the bundle has text that ends or hides a script element")
    head = LICENSE.format(
        vega=vl_convert.get_vega_version(),
        lite=vl_convert.get_vegalite_versions()[-1],
        embed=vl_convert.get_vega_embed_version(),
        convert=vl_convert.__version__,
    )
    return head + code.rstrip() + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(bundle(), encoding="utf-8")
