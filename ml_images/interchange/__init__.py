"""The data set in the formats of other programs, and back: TFRecord, WebDataset tar, ImageFolder."""
