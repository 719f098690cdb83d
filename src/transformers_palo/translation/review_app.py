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
"""The reviewers' web page."""

import html
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from .flags import Flag, find_flags
from .results import Translated
from .review_queue import ReviewQueue, as_shown
from .targets import Target, get_target


_CSS = """
.palo-text { white-space: pre-wrap; font-size: 1.05rem; line-height: 1.6; padding: .4rem .2rem; }
.palo-text mark { background: #ffe08a; color: inherit; border-radius: 3px; padding: 0 .1em; }
.palo-role { opacity: .65; font-size: .85rem; }
#palo-actions { position: sticky; bottom: 0; padding: .6rem 0; background: var(--body-background-fill); z-index: 2; }
/* As high as its text: Gradio measures it before the style is there. */
.palo-edit textarea {
  font-size: 1.05rem !important; line-height: 1.6 !important;
  field-sizing: content; height: auto !important; overflow-y: hidden !important;
}
"""
# Alt is no shortcut of any text field: it works while typing.
_KEYS = """
<script>
document.addEventListener("keydown", (event) => {
  const button = { a: "palo-accept", r: "palo-reject", s: "palo-skip" }[event.key.toLowerCase()];
  if (event.altKey && button && !event.repeat) {
    event.preventDefault();
    // A text field tells its value when it is left.
    document.activeElement?.blur();
    setTimeout(() => document.getElementById(button)?.click(), 50);
  }
});
</script>
"""


def serve(folder: Path, language: str, image_folder: Path | None, count: int, seed: int, host: str, port: int) -> None:
    """Serve the page until it is interrupted.

    Args:
        folder: The run.
        language: Code of the target language.
        image_folder: Where the images of the records are, if they are there.
        count: How many records to review.
        seed: Decides which.
        host: Address to listen at.
        port: Port to listen at.

    Raises:
        OSError: The port is taken, or there is no run or image folder.
        ValueError: There is nothing to review.
    """
    if image_folder is not None and not image_folder.is_dir():
        raise NotADirectoryError(f"{image_folder}: expected the folder of the images, found none.")
    queue = ReviewQueue(folder, language, count, seed)
    page = review_page(queue, image_folder)
    page.launch(
        server_name=host,
        server_port=port,
        css=_CSS,
        head=_KEYS,
        footer_links=[],
        allowed_paths=[] if image_folder is None else [str(image_folder.resolve())],
    )


def review_page(queue: ReviewQueue, image_folder: Path | None) -> gr.Blocks:
    """The page: who reviews, the record, its turns side by side, and what can be said of it."""
    target = get_target(queue.language)
    with gr.Blocks(title=f"Review: {target.language.name}", analytics_enabled=False, fill_width=True) as page:
        current: Any = gr.State(None)
        since: Any = gr.State(0.0)
        with gr.Row(equal_height=True):
            gr.Markdown(f"## English to {target.language.name} ({target.language.native_name})")
            name = gr.Textbox(label="Reviewer", placeholder="Your name", elem_id="palo-name", scale=0, min_width=240)
            start = gr.Button("Start", elem_id="palo-start", scale=0, variant="primary")
        progress = gr.Markdown("Write your name and press Start.", elem_id="palo-progress")

        def show_next(reviewer: str) -> tuple[int | None, float, str]:
            if not reviewer.strip():
                raise gr.Error("Write your name first.")
            one = queue.next(reviewer.strip())
            return one.position if one else None, time.monotonic(), _progress(queue, reviewer.strip(), one)

        start.click(show_next, [name], [current, since, progress])
        name.submit(show_next, [name], [current, since, progress])

        @gr.render(inputs=[current])
        def record(position: int | None) -> None:
            if position is None:
                return
            one = queue.record(position)
            boxes = _turns(one, target, queue.glossary, image_folder)
            with gr.Row(equal_height=True, elem_id="palo-actions"):
                reason = gr.Textbox(
                    show_label=False,
                    container=False,
                    placeholder="Why it is rejected, or a note",
                    elem_id="palo-reason",
                    scale=4,
                )
                skip = gr.Button("Skip (Alt+S)", elem_id="palo-skip")
                reject = gr.Button("Reject (Alt+R)", elem_id="palo-reject", variant="stop")
                accept = gr.Button("Accept (Alt+A)", elem_id="palo-accept", variant="primary")

            def submit(rejected: bool) -> Any:
                def said(reviewer: str, began: float, why: str, *texts: str) -> tuple[int | None, float, str]:
                    try:
                        queue.submit(reviewer, position, texts, rejected, why, time.monotonic() - began)
                    except ValueError as error:
                        raise gr.Error(str(error)) from error
                    return show_next(reviewer)

                return said

            inputs, outputs = [name, since, reason, *boxes], [current, since, progress]
            accept.click(submit(rejected=False), inputs, outputs)
            reject.click(submit(rejected=True), inputs, outputs)

            def skip_it(reviewer: str) -> tuple[int | None, float, str]:
                queue.skip(reviewer.strip(), position)
                return show_next(reviewer)

            skip.click(skip_it, [name], outputs)

    return page


def _progress(queue: ReviewQueue, reviewer: str, one: Translated | None) -> str:
    own, anybody, total = queue.progress(reviewer)
    if one is None:
        return f"**All done: you have reviewed {own} of {total} records.** Thank you."
    kinds = f", flagged: {', '.join(sorted(one.outcome.flags))}" if one.outcome.flags else ""
    return f"You: **{own}** of {total} records; by anybody: {anybody}. This one: `{one.record['source_id']}`{kinds}."


def _turns(
    one: Translated, target: Target, glossary: Mapping[str, str], image_folder: Path | None
) -> list[gr.Textbox]:
    """The image, and each turn in English, in the translation with its flags marked, and to be edited."""
    right_to_left = target.language.direction == "rtl"
    boxes = []
    with gr.Row():
        with gr.Column(scale=1, min_width=220):
            _image(one, image_folder)
        with gr.Column(scale=4):
            for number, (role, english, translation) in enumerate(
                zip(one.roles, one.english, one.translation, strict=True)
            ):
                text = as_shown(translation)
                flags = find_flags(english, text, target, glossary)
                with gr.Row():
                    said = f"<div class='palo-role'>{html.escape(role)}</div>{html.escape(as_shown(english))}"
                    gr.HTML(_text(said, "ltr"))
                    with gr.Column():
                        if flags:
                            gr.HTML(
                                _text(_marked(text, flags), target.language.direction), elem_id=f"palo-marked-{number}"
                            )
                        box = gr.Textbox(
                            text,
                            show_label=False,
                            container=False,
                            rtl=right_to_left,
                            interactive=True,
                            max_lines=40,
                            elem_id=f"palo-edit-{number}",
                            elem_classes="palo-edit",
                            key=(one.position, number),
                        )
                        boxes.append(box)
    return boxes


def _image(one: Translated, image_folder: Path | None) -> None:
    name = one.record.get("image")
    if not isinstance(name, str):
        gr.Markdown("*(no image)*")
    elif image_folder is None or not (path := image_folder / name).is_file():
        gr.Markdown(f"*(image `{name}` is not here)*")
    else:
        gr.Image(str(path), show_label=False, interactive=False, buttons=["fullscreen"], elem_id="palo-image")


def _text(content: str, direction: str) -> str:
    return f"<div class='palo-text' dir='{direction}'>{content}</div>"


def _marked(text: str, flags: list[Flag]) -> str:
    """Text as HTML with the flagged places marked; what has no place is named behind it."""
    parts, end = [], 0
    for flag in flags:
        if flag.end > flag.start >= end:
            title = html.escape(flag.name.replace("_", " "))
            parts += [
                html.escape(text[end : flag.start]),
                f"<mark title='{title}'>",
                html.escape(text[flag.start : flag.end]),
            ]
            parts.append("</mark>")
            end = flag.end
    named = [html.escape(flag.detail) for flag in flags if flag.end == flag.start]
    note = f"<div class='palo-role'>{'; '.join(named)}</div>" if named else ""
    return "".join(parts) + html.escape(text[end:]) + note
