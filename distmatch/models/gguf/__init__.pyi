from .directory import ConvertedFrom as ConvertedFrom
from .directory import bytes_digest as bytes_digest
from .directory import checked_gguf as checked_gguf
from .directory import converted_gguf as converted_gguf
from .directory import described_gguf as described_gguf
from .directory import write_model as write_model
from .named import gguf_file as gguf_file
from .stored import rounded_kinds as rounded_kinds
