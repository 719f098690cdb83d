# Copyright 2026 The transformers-palo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The key of an endpoint, and keeping it out of everything that can be read."""

import os
import re


# A shorter one is a stand-in such as `none` or `EMPTY`, and words that look like it are no secret.
_SHORTEST_SECRET = 8


class Secret:
    """A key that goes into one header and nowhere else.

    Args:
        key: As it was found; white space round it, such as the line break of a file that it was read from, is no part of it.

    Raises:
        ValueError: It holds characters that no header may.
    """

    def __init__(self, key: str) -> None:
        self.key = key.strip()
        if not all("!" <= character <= "~" for character in self.key):
            raise ValueError(
                "Expected a key of ASCII letters, digits and signs in OPENAI_API_KEY, found one with white space or other "
                "characters inside: copy it once more."
            )
        self._pattern = _pattern(self.key) if len(self.key) >= _SHORTEST_SECRET else None

    @classmethod
    def from_environment(cls) -> "Secret":
        """The key in OPENAI_API_KEY; an empty one if there is none."""
        return cls(os.environ.get("OPENAI_API_KEY") or "")

    def hide(self, text: str) -> str:
        """A text with `[key]` in its place, also where JSON escapes some of its characters.

        >>> Secret("sk-12/345").hide(r'{"error": "bad key sk-12\\/34\\u0035"}')
        '{"error": "bad key [key]"}'
        """
        return self._pattern.sub("[key]", text) if self._pattern is not None else text


def _pattern(key: str) -> re.Pattern[str]:
    """Each character as it is, or as JSON may write it: by its code, or behind a backslash."""
    return re.compile("".join(rf"(?:\\+u00(?i:{ord(one):02x})|\\*{re.escape(one)})" for one in key))
