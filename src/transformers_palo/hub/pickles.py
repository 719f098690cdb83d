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
"""Is a file a pickle? Told by its content, without loading it: whatever its name, and in every protocol."""

import io
import pickletools
import re
from typing import IO


# Protocol 2 and later begin so; so do the files that `torch.save` wrote before it wrote ZIP archives.
_START = re.compile(rb"\x80[\x02-\x05]")
# Of a longer file, so much is looked at.
_LOOKED_AT = 1 << 20

# Protocols 0 and 1 begin with no mark, and 0 is text: a file is one if its opcodes can be run to the end. Some texts can
# ("Paris\n." is a pickle), but not with opcodes that call something, nor, to their very end, with these.
_CALLS = {"REDUCE", "BUILD", "OBJ", "NEWOBJ", "NEWOBJ_EX"}
_FINDS = {"GLOBAL", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}
_BUILDS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "APPEND", "APPENDS", "SETITEM", "SETITEMS"}
_NAMES = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")


def is_pickle(stream: IO[bytes]) -> bool:
    """Whether a file, read from its start, is a pickle or several in a row, or code could be run by loading it as one."""
    content = stream.read(_LOOKED_AT + 1)
    if _START.match(content):
        return True
    is_cut = len(content) > _LOOKED_AT
    reader = io.BytesIO(content[:_LOOKED_AT])
    seen: set[str] = set()
    while reader.tell() < reader.getbuffer().nbytes:
        if not _run(reader, seen):
            return is_cut and reader.tell() == _LOOKED_AT and (_calls(seen) or bool(seen & _BUILDS))
        if _calls(seen):
            return True
    return bool(seen & _BUILDS)


def _calls(seen: set[str]) -> bool:
    return "INST" in seen or bool(seen & _FINDS and seen & _CALLS)


def _run(reader: io.BytesIO, seen: set[str]) -> bool:
    """Whether the opcodes up to the next STOP find on the stack what they need; collects their names.

    The same rules as in `pickletools.dis`, which would print everything.
    """
    mark = pickletools.markobject
    stack: list[object] = []
    try:
        for opcode, argument, _ in pickletools.genops(reader):
            if opcode.name in ("GLOBAL", "INST") and not _NAMES.fullmatch(str(argument)):
                return False
            before = list(opcode.stack_before)
            if mark in before:
                while stack.pop() is not mark:
                    pass
                del before[before.index(mark) :]
            if len(stack) < len(before):
                return False
            del stack[len(stack) - len(before) :]
            stack += opcode.stack_after
            seen.add(opcode.name)
    except (ValueError, IndexError, UnicodeError):
        # No opcode, an argument that is none, or a stack without a mark.
        return False
    return not stack
