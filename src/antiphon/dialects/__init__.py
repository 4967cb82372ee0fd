"""One module per wire format: it watches native answers, folds streams into JSON and unfolds JSON into streams."""
