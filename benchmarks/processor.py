"""How fast prompts and pictures are prepared: PaloProcessor against Transformers' LlavaProcessor.

python -m benchmarks.processor
"""

import os
import tempfile
from pathlib import Path

from transformers import LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from transformers_palo import PaloImageProcessorPil, PaloProcessor, PaloTokenizer

from .common import SENTENCES, Report, compare, photo, ratio, write_tokenizer


def main() -> None:
    report = Report("processor", "Processor: Palo against Llava", "cpu")
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder))
        words = PaloTokenizer.from_pretrained(folder)
    palo_images = PaloImageProcessorPil()
    sizes = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}
    clip_images = CLIPImageProcessorPil(**sizes)
    padding_images = LlavaImageProcessorPil(**sizes, do_pad=True)
    palo = PaloProcessor(palo_images, words, patch_size=14)

    def llava_with(images) -> LlavaProcessor:
        return LlavaProcessor(
            images,
            words,
            patch_size=14,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=palo.chat_template,
            image_token="<image>",
        )

    llava, padding_llava = llava_with(clip_images), llava_with(padding_images)
    pictures = [
        photo(width, height, seed) for seed, (width, height) in enumerate([(640, 480), (480, 640), (1920, 1080)])
    ]

    report.text(
        "All on the CPU with Pillow, the same tokenizer and the same pictures. Palo pads each picture to a square, as the "
        "original does in training; so does Transformers' `LlavaImageProcessor` with `do_pad=True`, to the same pixels. "
        "Released LLaVA-1.5 models crop, with `CLIPImageProcessor`; so does Palo with `do_pad=False`. Times are medians, "
        "with minimum and maximum; ratios compare like with like, in one run."
    )
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > 0.5 * cores:
        report.text(
            f"The machine was busy with other work: {load:.0f} processes on {cores} cores. Trust the ratios only."
        )
    rows = []
    for picture in pictures:
        timings = compare(
            {
                "palo": lambda picture=picture: palo_images(picture, return_tensors="pt"),
                "llava": lambda picture=picture: padding_images(picture, return_tensors="pt"),
                "palo, cropped": lambda picture=picture: palo_images(picture, do_pad=False, return_tensors="pt"),
                "llava, cropped": lambda picture=picture: clip_images(picture, return_tensors="pt"),
            },
            repeats=31,
        )
        rows.append(
            [
                f"{picture.width} x {picture.height}",
                str(timings["palo"]),
                str(timings["llava"]),
                ratio(timings, "palo", "llava"),
                str(timings["palo, cropped"]),
                str(timings["llava, cropped"]),
                ratio(timings, "palo, cropped", "llava, cropped"),
            ]
        )
    report.text("## One picture to pixel values")
    report.table(
        ["picture", "Palo", "Llava, padding", "ratio", "Palo, cropping", "Llava, cropping", "ratio"],
        rows,
    )

    chats = [
        [{"role": "user", "content": [{"type": "image", "image": pictures[0]}, {"type": "text", "text": sentence}]}]
        for sentence in SENTENCES
    ]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}

    def prepare(processor) -> object:
        return processor.apply_chat_template(chats, processor_kwargs={"padding": True}, **options)

    timings = compare(
        {
            "palo": lambda: prepare(palo),
            "llava, padding": lambda: prepare(padding_llava),
            "llava, cropping": lambda: prepare(llava),
        },
        repeats=15,
    )
    report.text("## Ten chats in ten languages, each with a picture of 640 x 480")
    report.table(
        ["", "time", "chats a second"],
        [[name, str(timing), f"{len(chats) / timing.median:.1f}"] for name, timing in timings.items()]
        + [[f"ratio to {name}", ratio(timings, "palo", name), ""] for name in timings if name != "palo"],
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
