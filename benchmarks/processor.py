"""How fast prompts and pictures are prepared: PaloProcessor against Transformers' LlavaProcessor.

python -m benchmarks.processor
"""

import tempfile
from pathlib import Path

from transformers import LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from transformers_palo import PaloImageProcessorPil, PaloProcessor, PaloTokenizer

from .common import SENTENCES, Report, compare, photo, ratio, write_tokenizer


def main() -> None:
    report = Report("processor", "Processor: Palo against Llava", "cpu")
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder))
        words = PaloTokenizer.from_pretrained(folder)
    palo_images = PaloImageProcessorPil()
    clip_images = CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    palo = PaloProcessor(palo_images, words, patch_size=14)
    llava = LlavaProcessor(
        clip_images,
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=palo.chat_template,
        image_token="<image>",
    )
    pictures = [
        photo(width, height, seed) for seed, (width, height) in enumerate([(640, 480), (480, 640), (1920, 1080)])
    ]

    report.text(
        "Both on the CPU with Pillow, the same tokenizer and the same pictures. Palo pads each picture to a square, as the "
        "original does in training; Llava crops it, as `palo, cropped` does too. Times are medians, with minimum and maximum."
    )
    rows = []
    for picture in pictures:
        timings = compare(
            {
                "palo": lambda picture=picture: palo_images(picture, return_tensors="pt"),
                "crop": lambda picture=picture: palo_images(picture, do_pad=False, return_tensors="pt"),
                "llava": lambda picture=picture: clip_images(picture, return_tensors="pt"),
            },
            repeats=31,
        )
        rows.append(
            [
                f"{picture.width} x {picture.height}",
                *(str(timings[name]) for name in ("palo", "crop", "llava")),
                ratio(timings, "palo", "llava"),
                ratio(timings, "crop", "llava"),
            ]
        )
    report.text("## One picture to pixel values")
    report.table(["picture", "Palo", "Palo, cropped", "Llava", "ratio", "ratio, cropped"], rows)

    chats = [
        [{"role": "user", "content": [{"type": "image", "image": pictures[0]}, {"type": "text", "text": sentence}]}]
        for sentence in SENTENCES
    ]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}

    def prepare(processor) -> object:
        return processor.apply_chat_template(chats, processor_kwargs={"padding": True}, **options)

    timings = compare({"palo": lambda: prepare(palo), "llava": lambda: prepare(llava)}, repeats=15)
    report.text("## Ten chats in ten languages, each with a picture of 640 x 480")
    report.table(
        ["", "time", "chats a second"],
        [[name, str(timing), f"{len(chats) / timing.median:.1f}"] for name, timing in timings.items()]
        + [["ratio", ratio(timings, "palo", "llava"), ""]],
    )

    texts = [SENTENCES[index % 10] * 20 for index in range(200)]
    timings = compare({"palo": lambda: words(texts)}, repeats=15)
    characters = sum(map(len, texts))
    report.text(
        "## Text alone",
        f"{characters / timings['palo'].median / 1e6:.2f} million characters a second ({len(texts)} texts at once).",
    )
    report.write()


if __name__ == "__main__":
    main()
