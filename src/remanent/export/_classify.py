"""What a model's inputs and classes are called in C, and the function that leads from a sample to a class."""

from remanent.export._source import Source
from remanent.models import ModelConfig, SequenceModel


def check_class_names(class_names: tuple[str, ...], config: ModelConfig) -> None:
    """Raises unless there are no names, or a different one for each output of a model of this configuration."""
    for label in class_names:
        if not isinstance(label, str):
            raise TypeError(f"`class_names` must hold str, got {label!r}")
    if "" in class_names or len(set(class_names)) < len(class_names):
        raise ValueError(f"`class_names` must be different and not empty, got {class_names}")
    if len(class_names) not in (0, config.output_size):
        found = len(class_names)
        raise ValueError(f"`class_names` must name the model's {config.output_size} outputs, got {found}")


def named_inputs(model: SequenceModel) -> list[str]:
    """Lines of a comment that say what the inputs are; none for tokens."""
    if model.config.reads_tokens:
        return []
    scaled = ", in the units of the data that the model was trained on" if model.config.standardise else ""
    said = [f"Inputs must be finite{scaled}."]
    if model.config.standardise:
        said += [
            "A missing one is filled in as in training: with its last value (`forward`), or with its mean, as before",
            "there is a value, and for `indicator` always.",
        ]
        means = [f"  mean {mean:.6g}" for mean in model.encoder.get_buffer("mean").tolist()]
    else:
        means = [""] * model.config.input_size
    rows = [
        f"    x[{i}]  {_in_comment(n)}{mean}"
        for i, (n, mean) in enumerate(zip(model.names.features, means, strict=False))
    ]
    return ["", *said, *rows]


def write_classify(source: Source, name: str, class_names: tuple[str, ...], x: str) -> None:
    """Adds the names of the classes to a module, and `NAME_classify`, whose input is declared as `x`."""
    upper = name.upper()
    array = f"const char *const {name}_class_names[{upper}_OUTPUT_SIZE]"
    head = f"const char *{name}_classify({name}_state *state, {x})"
    source.declared += [
        f"/* The names of the classes, in the order of y. */\nextern {array};",
        f"/* Takes the next step in the place of {name}_step, and gives the name of the class with the largest output\n"
        f" * after it; 0 where an output is no finite number, since an input was none. */\n{head};",
    ]
    labels = "\n".join(f"    {_quoted(label)}," for label in class_names)
    body = f"""
    float y[{upper}_OUTPUT_SIZE];
    int best = 0;
    {name}_step(state, x, y);
    for (int i = 0; i < {upper}_OUTPUT_SIZE; i++) {{
        if (!(y[i] - y[i] == 0.0f)) {{
            return 0;
        }}
        best = y[i] > y[best] ? i : best;
    }}
    return {name}_class_names[best];
"""
    source.defined += [f"{array} = {{\n{labels}\n}};", f"{head}\n{{{body}}}"]


def _quoted(text: str) -> str:
    """A text as C writes it, in UTF-8: what is no plain letter or sign as three octal digits."""
    kept = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(kept)}"'


def _in_comment(name: str) -> str:
    """A name on one line of a comment of C, which it cannot end."""
    return " ".join(name.split()).replace("*/", "* /").replace("/*", "/ *")
