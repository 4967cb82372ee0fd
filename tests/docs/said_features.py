"""Rows about what is said to the model."""

from docs.feature import HINT, IMAGE, MARK, PDF, Feature, parts, said

SAID: tuple[Feature, ...] = (
    Feature(
        "system prompt",
        {
            "responses": {"instructions": MARK},
            "chat": {"messages": [said("system", MARK), said("user", "Hi")]},
            "messages": {"system": MARK},
        },
    ),
    Feature(
        "instructions in the middle",
        {
            client: {
                holder: [
                    said("user", "Hi"),
                    said("assistant", "Yes?"),
                    said("system", MARK),
                    said("user", "Go on"),
                ]
            }
            for client, holder in (("responses", "input"), ("chat", "messages"), ("messages", "messages"))
        },
        forms=((rf"<(system|developer)>\\n{MARK}", "marked text"),),
    ),
    Feature(
        "image, as data",
        parts(
            {"type": "input_image", "image_url": f"data:image/png;base64,{MARK}"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{MARK}"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": MARK}},
        ),
    ),
    Feature(
        "image, by URL",
        parts(
            {"type": "input_image", "image_url": IMAGE},
            {"type": "image_url", "image_url": {"url": IMAGE}},
            {"type": "image", "source": {"type": "url", "url": IMAGE}},
        ),
    ),
    Feature(
        "image, by file id",
        parts(
            {"type": "input_image", "file_id": f"file-{MARK}"},
            None,
            {"type": "image", "source": {"type": "file", "file_id": f"file-{MARK}"}},
        ),
    ),
    Feature(
        "detail of an image",
        parts(
            {"type": "input_image", "image_url": f"data:image/png;base64,{MARK}", "detail": "low"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{MARK}", "detail": "low"}},
            None,
        ),
        beside=parts(
            {"type": "input_image", "image_url": f"data:image/png;base64,{MARK}"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{MARK}"}},
            None,
        ),
        marked=False,
        left_out=HINT,
    ),
    Feature(
        "PDF, as data",
        parts(
            {
                "type": "input_file",
                "filename": "a.pdf",
                "file_data": f"data:application/pdf;base64,{MARK}",
            },
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{MARK}"},
            },
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": MARK},
            },
        ),
    ),
    Feature(
        "PDF, by URL",
        parts(
            {"type": "input_file", "file_url": PDF},
            None,
            {"type": "document", "source": {"type": "url", "url": PDF}},
        ),
    ),
    Feature(
        "PDF, by file id",
        parts(
            {"type": "input_file", "file_id": f"file-{MARK}"},
            {"type": "file", "file": {"file_id": f"file-{MARK}"}},
            {"type": "document", "source": {"type": "file", "file_id": f"file-{MARK}"}},
        ),
    ),
    Feature(
        "sound",
        parts(
            {"type": "input_audio", "input_audio": {"data": MARK, "format": "wav"}},
            {"type": "input_audio", "input_audio": {"data": MARK, "format": "wav"}},
            None,
        ),
    ),
    Feature(
        "video", parts({"type": "input_video", "video_url": f"data:video/mp4;base64,{MARK}"}, None, None)
    ),
)
