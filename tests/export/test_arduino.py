"""The Arduino library: its files are where the IDE looks for them, and its sketch answers samples as torch does."""

import shutil
import subprocess
import zipfile

import pytest
import torch

from model_cases import inputs, make
from remanent.export import export_arduino, export_c, time_step, write_c
from remanent.export.arduino import library_zip
from remanent.models import Names

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
STUB = """
// the part of Arduino's core that the sketch uses, on standard input and output
#include <cstdint>
#include <cstdio>
struct Port {
  void begin(long) {}
  int peek() { int c = getchar(); ungetc(c, stdin); return c; }
  int read() { return getchar(); }
  int available() { return peek() != EOF; }
  float parseFloat() { float value = 0; return scanf("%f", &value) == 1 ? value : 0; }
  long parseInt() { long value = 0; return scanf("%ld", &value) == 1 ? value : 0; }
  void print(float value, int digits) { printf("%.*f", digits, value); }
  void print(char value) { putchar(value); }
  void println(const char *text) { puts(text); }
};
extern Port Serial;
void setup();
void loop();
"""
MAIN = """
#include "Arduino.h"
Port Serial;
int main() {
  setup();
  while (Serial.available()) {
    loop();
  }
}
"""


def answers(path, folder, lines):
    """What the sketch of a library says to lines of text, compiled as Arduino's builder does."""
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)
    name = path.stem
    library = folder / name
    properties = dict(line.split("=", 1) for line in (library / "library.properties").read_text().splitlines())
    needed = "name version author maintainer sentence paragraph category url architectures"
    assert set(needed.split()) <= properties.keys()
    assert properties["name"] == name
    (folder / "Arduino.h").write_text(STUB)
    (folder / "main.cpp").write_text(MAIN)
    sketch = library / "examples" / f"{name}_serial" / f"{name}_serial.ino"
    (folder / "sketch.cpp").write_text(f'#include "Arduino.h"\n{sketch.read_text()}')
    strict = ["-O1", "-Wall", "-Wextra", "-Werror", "-I", str(library / "src"), "-I", str(folder)]
    subprocess.run(["gcc", "-c", *strict, str(library / "src" / f"{name}.c")], cwd=folder, check=True)
    subprocess.run(["g++", *strict, "main.cpp", "sketch.cpp", f"{name}.o", "-lm", "-o", "it"], cwd=folder, check=True)
    done = subprocess.run([folder / "it"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@needs_compiler
def test_a_sketch_names_the_class_of_samples(tmp_path):
    """With names that C must not take for its own."""
    model = make(torch.float32, head="every", output_size=3)
    x, names = inputs(model, 1, 40), ('say "yes"', "no\\really??", "größer")
    module = export_arduino(model, tmp_path, name="weather", class_names=names)
    assert module.check.largest < 1e-5
    assert (tmp_path / "weather.zip").read_bytes() == library_zip(module)
    lines = [" ".join(f"{value:.9g}" for value in row) for row in x[0].tolist()]
    found = answers(tmp_path / "weather.zip", tmp_path, lines)
    with torch.no_grad():
        best = model(x)[0][0].argmax(-1)
    assert found == [names[i] for i in best.tolist()]
    assert len(set(found)) > 1
    with pytest.raises(FileExistsError, match=r"`weather\.zip` must not exist yet"):
        export_arduino(model, tmp_path, name="weather")


@needs_compiler
def test_a_stream_of_a_sketch_starts_again(tmp_path):
    model = make(torch.float32, head="every", output_size=3)
    model.names = Names(tuple(f"axis {i} */" for i in range(model.config.input_size)), ("a", "b", "c"))
    module = export_arduino(model, tmp_path, name="weather")
    assert "x[1]  axis 1 * /" in module.sources["weather.h"]
    lines = [" ".join(f"{value:.9g}" for value in row) for row in inputs(model, 1, 9)[0].tolist()]
    found = answers(tmp_path / "weather.zip", tmp_path, [*lines, "r", *lines])
    assert found[:9] == found[9:]
    assert len(set(found)) > 1
    sketch = tmp_path / "weather" / "examples" / "weather_serial" / "weather_serial.ino"
    assert "numbers (axis 0 */, axis 1 */" in sketch.read_text().splitlines()[0]


@needs_compiler
def test_a_sketch_for_letters_prints_the_outputs(tmp_path):
    model = make(torch.float32, encoder="embedding", input_size=5, head="every")
    export_arduino(model, tmp_path, name="words", weights="int8")
    letters = torch.randint(5, (1, 20), generator=torch.Generator().manual_seed(0))
    found = answers(tmp_path / "words.zip", tmp_path, [str(letter) for letter in letters[0].tolist()])
    y = torch.tensor([[float(value) for value in line.split()] for line in found])
    with torch.no_grad():
        torch.testing.assert_close(y, write_c(model, weights="int8").model(letters)[0][0], rtol=1e-4, atol=1e-4)


@needs_compiler
def test_a_module_is_shown_in_a_line_and_timed(tmp_path):
    module = export_c(make(torch.float32, hidden_size=64), tmp_path, class_names=("no", "yes"))
    assert len(repr(module)) < 200
    assert "compared with torch" in repr(module)
    taken = time_step(module)
    assert 1e-8 < taken.seconds < 1e-2
    assert "-O2" in taken.runner
    assert taken.processor


@pytest.mark.parametrize(
    ("class_names", "rule"),
    [
        (("a", "a"), r"`class_names` must be different and not empty, got \('a', 'a'\)"),
        (("a", ""), r"`class_names` must be different and not empty, got \('a', ''\)"),
        (("a", "b", "c"), "`class_names` must name the model's 2 outputs, got 3"),
    ],
)
def test_names_of_other_classes_are_rejected_before_anything_is_written(class_names, rule, tmp_path):
    with pytest.raises(ValueError, match=rule):
        export_c(make(torch.float32), tmp_path / "new", class_names=class_names)
    assert not (tmp_path / "new").exists()
