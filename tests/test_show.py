"""What notebooks print: bands, comparisons, tables, figures with a text twin, live source."""

import matplotlib

matplotlib.use("Agg")
import base64
import io
import textwrap
import wave

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.image import imread

from impl import show
from impl.figure_digest import digest


@pytest.fixture
def displayed(monkeypatch):
    """Everything that a test shows, as {MIME type: content}."""
    bundles = []
    monkeypatch.setattr(show, "display", lambda bundle: bundles.append(bundle._repr_mimebundle_()))
    return bundles


@pytest.fixture(autouse=True)
def unchanged_settings():
    """Put back what ``show.setup`` changes for the whole process."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with matplotlib.rc_context():
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    plt.close("all")


def test_setup_repeats_every_random_stream():
    def draw():
        show.setup(seed=3)
        return float(torch.rand(1)), float(np.random.rand())

    assert draw() == draw()
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


def test_setup_seeds_differ():
    show.setup(seed=0)
    first = torch.rand(1)
    show.setup(seed=1)
    assert not torch.equal(first, torch.rand(1))


def test_device_is_the_cpu_unless_told(monkeypatch):
    monkeypatch.delenv("CODEBOOK_DEVICE", raising=False)
    assert show.device() == torch.device("cpu")
    monkeypatch.setattr("impl.devices.devices", lambda: ["cpu", "cuda:0"])
    monkeypatch.setenv("CODEBOOK_DEVICE", "cuda:0")
    assert show.device() == torch.device("cuda:0")


@pytest.mark.parametrize("name", ["warp", "cuda:99", "meta", ""])
def test_device_names_the_variable_and_its_value(monkeypatch, name):
    monkeypatch.setenv("CODEBOOK_DEVICE", name)
    with pytest.raises(ValueError, match=rf"CODEBOOK_DEVICE must be one of cpu.*got {name!r}"):
        show.device()


def test_band_prints_the_band_and_not_the_value(capsys):
    show.band("PSNR (dB)", torch.tensor(24.123, requires_grad=True), 22, 26)
    assert capsys.readouterr() == ("PSNR (dB) in [22, 26]: ok\n", "")


@pytest.mark.parametrize("value", [21.9, 26.1, float("nan"), float("inf")])
def test_band_left_raises_with_the_value(capsys, value):
    with pytest.raises(AssertionError, match=r"PSNR is .*outside \[22, 26\]"):
        show.band("PSNR", value, 22, 26)
    assert capsys.readouterr().out == ""


def test_band_includes_its_ends(capsys):
    show.band("bits", 22, 22, 22)
    assert capsys.readouterr().out == "bits in [22, 22]: ok\n"


def test_less_prints_the_claim(capsys):
    show.less("VQ", 20.0, "RVQ", 21.0, margin=0.5)
    show.less("VQ", 20.0, "RVQ", 21.0)
    assert capsys.readouterr().out == "VQ < RVQ by more than 0.5: ok\nVQ < RVQ: ok\n"


@pytest.mark.parametrize("a, b, margin", [(1, 1, 0), (2, 1, 0), (1, 2, 1), (float("nan"), 1, 0)])
def test_less_raises_with_both_values(a, b, margin):
    with pytest.raises(AssertionError, match="against"):
        show.less("a", a, "b", b, margin=margin)


def test_table_aligns_numbers_right_and_text_left(capsys):
    rows = [("VQ", 6, 21.2345), {"PSNR": torch.tensor(9.5), "bits": np.int64(12), "method": "Residual"}]
    show.table(rows, columns=["method", "bits", "PSNR"])
    assert capsys.readouterr().out == textwrap.dedent("""\
        method    bits  PSNR
        --------  ----  ----
        VQ           6  21.2
        Residual    12   9.5
        """)


def test_table_digits(capsys):
    show.table([(1234.5678,), (0.00012345,)], columns=["x"], digits=2)
    assert capsys.readouterr().out.split() == ["x", "-------", "1.2e+03", "0.00012"]


@pytest.mark.parametrize("row", [("VQ",), ("VQ", 1, 2), {"method": "VQ"}])
def test_table_refuses_rows_of_another_shape(row):
    with pytest.raises(ValueError, match=r"row 0 is .* needs one value for each of"):
        show.table([row], columns=["method", "bits"])


def test_figure_has_a_picture_and_a_text_twin(displayed):
    fig, axes = plt.subplots()
    axes.plot([0, 1, 2], [0.0, 1.234, 9.871], label="loss")
    axes.set_title("Training")
    show.figure(fig, alt="A loss\n that   rises.")
    (bundle,) = displayed
    assert bundle["text/plain"].split("\n") == [
        "A loss that rises.",
        "axes | Training",
        "  line 'loss': 3 points, x 0..2, y 0..9.9",
    ]
    picture = imread(io.BytesIO(bundle["image/png"]), format="png")
    assert picture.shape[:2] == (int(fig.get_figheight() * show.DPI), int(fig.get_figwidth() * show.DPI))
    assert not plt.fignum_exists(fig.number)


def test_figure_background_is_opaque_white(displayed):
    show.setup()
    fig, axes = plt.subplots()
    axes.plot([0, 1])
    show.figure(fig, alt="A line.")
    assert imread(io.BytesIO(displayed[0]["image/png"]), format="png")[0, 0].tolist() == [1, 1, 1, 1]


def test_figure_gives_equal_bytes_for_equal_data(displayed):
    for _ in range(2):
        fig, axes = plt.subplots()
        axes.plot([0, 1])
        show.figure(fig, alt="A line.")
    assert displayed[0] == displayed[1]


def test_figure_of_many_colours_is_small_and_close(displayed, monkeypatch):
    from PIL import Image

    colours = np.random.default_rng(0).random((30, 30, 3))
    for limit in (10**9, 0):
        monkeypatch.setattr(show, "FULL_COLOUR", limit)
        fig, axes = plt.subplots()
        axes.imshow(colours, interpolation="bilinear")
        show.figure(fig, alt="A field of colours.")
    full, small = (Image.open(io.BytesIO(bundle["image/png"])).convert("RGB") for bundle in displayed)
    assert 2 * len(displayed[1]["image/png"]) < len(displayed[0]["image/png"])
    assert len(small.getcolors()) <= 256
    assert np.abs(np.asarray(full, float) - np.asarray(small)).mean() < 8
    assert small.getpixel((0, 0)) == (255, 255, 255)


def test_figure_needs_alternative_text():
    with pytest.raises(ValueError, match="alt is empty"):
        show.figure(plt.figure(), alt="  ")


def _digest(draw, digits=2):
    fig, axes = plt.subplots()
    draw(axes)
    return digest(fig, digits)


@pytest.mark.parametrize(
    "draw, line",
    [
        (lambda a: a.bar(["x", "y"], [1, 2.5], label="count"), "  bars 'count': 2 points, y 1..2.5"),
        (lambda a: a.scatter([0, 4], [1, 7]), "  points: 2 points, x 0..4, y 1..7"),
        (lambda a: a.plot(["a", "b"], [1, 2]), "  line: 2 points, x 0..1, y 1..2"),
        (lambda a: a.stairs([1, 3], [0, 1, 2]), "  steps: 2 points, x 0..2, y 1..3"),
        (lambda a: a.fill_between([0, 1], [0, 0], [2, 3]), "y 0..3"),
        (lambda a: a.pcolormesh(np.eye(3)), "  mesh: 9 points, y 0..1"),
        (lambda a: a.plot([1, np.nan, 3]), "  line: 3 points, x 0..2, y 1..3"),
        (lambda a: a.plot([0, 0]), "y 0..0"),
        (lambda a: a.imshow(np.zeros((4, 5))), "1 image of 4x5"),
    ],
)
def test_digest_describes_each_kind_of_series(draw, line):
    assert _digest(draw)[-1].endswith(line)


def test_digest_is_blind_to_noise_and_sees_change():
    noise = np.random.default_rng(0).normal(size=50)
    wave = np.sin(np.arange(50) / 5)
    first = _digest(lambda a: a.plot(wave))
    assert first == _digest(lambda a: a.plot(wave + 1e-6 * noise))
    assert first != _digest(lambda a: a.plot(1.2 * wave))
    assert first != _digest(lambda a: a.plot(wave[:-1]))


def test_digest_rounds_to_the_scale_of_the_series():
    assert _digest(lambda a: a.plot([1e-9, 123.4])) == _digest(lambda a: a.plot([-1e-9, 123.4]))
    assert _digest(lambda a: a.plot([0, 123.4]), digits=1)[-1].endswith("y 0..100")
    assert _digest(lambda a: a.plot([0, 123.4]), digits=0)[-1].endswith("2 points")


def test_digest_counts_images_and_leaves_out_colour_bars():
    fig, axes = plt.subplots(1, 3)
    for ax in axes:
        image = ax.imshow(np.ones((8, 8, 3)))
    fig.colorbar(image)
    assert digest(fig) == ["3 images of 8x8x3"]


def test_digest_refuses_negative_digits():
    with pytest.raises(ValueError, match="digits is -1"):
        digest(plt.figure(), -1)


def test_source_is_the_live_code_in_a_fence(displayed):
    show.source(show.band)
    (bundle,) = displayed
    assert bundle["text/plain"].startswith("def band(")
    assert "`band` in `impl/show.py`" in bundle["text/markdown"]
    assert f"```python\n{bundle['text/plain']}\n```" in bundle["text/markdown"]


def test_source_fence_is_longer_than_any_in_the_code(displayed):
    show.source(show.source)
    assert "````python\n" in displayed[0]["text/markdown"]


def test_source_refuses_what_has_none():
    with pytest.raises(TypeError):
        show.source(len)


def test_a_sound_is_a_player_and_a_line_of_text(displayed):
    show.sound(torch.linspace(-1, 2, 80), 8000, "a <ramp>")
    assert displayed[0]["text/plain"] == "a <ramp> (0.01 s of sound)"
    page = displayed[0]["text/html"]
    assert "a &lt;ramp&gt;" in page
    content = page.split("base64,")[1].split("'")[0]
    with wave.open(io.BytesIO(base64.b64decode(content))) as file:
        assert (file.getframerate(), file.getnframes(), file.getsampwidth()) == (8000, 80, 2)
        samples = np.frombuffer(file.readframes(80), "<i2")
    assert samples[0] == -32767
    assert samples[-1] == 32767
