"""Pictures become what the net takes; what cannot is said in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from joulemark.auditing.images import Preprocessing, read_images


def picture(path, colour, size=(20, 10)):
    Image.new("RGB", size, colour).save(path)


def test_pixels_are_scaled_shifted_and_turned_as_said(tmp_path):
    picture(tmp_path / "a.png", (255, 128, 0))
    (default,) = read_images(tmp_path, (3, 4, 4), Preprocessing(), most=9)
    expected = [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (0 - 0.406) / 0.225]
    np.testing.assert_allclose(default, np.broadcast_to(np.float32(expected)[:, None, None], (3, 4, 4)), rtol=1e-5)
    caffe = Preprocessing(scale=1.0, mean=(104.0, 117.0, 123.0), std=(1.0,), bgr=True)
    (turned,) = read_images(tmp_path, (3, 4, 4), caffe, most=9)
    assert turned[:, 0, 0].tolist() == [0 - 104, 128 - 117, 255 - 123]


def test_the_middle_is_cut_and_grey_is_grey(tmp_path):
    image = Image.new("L", (30, 10), 0)
    image.paste(255, (10, 0, 20, 10))
    image.save(tmp_path / "a.png")
    (found,) = read_images(tmp_path, (1, 10, 10), Preprocessing(), most=1)
    assert found.shape == (1, 10, 10)
    assert found.min() == 1.0


def test_images_are_spread_over_all_folders(tmp_path):
    for name in "abcd":
        (tmp_path / name).mkdir()
        picture(tmp_path / name / "x.png", (ord(name), 0, 0))
    how = Preprocessing(scale=1.0, mean=(0.0,), std=(1.0,))
    found = read_images(tmp_path, (3, 2, 2), how, most=2)
    assert [round(float(image[0, 0, 0])) for image in found] == [ord("a"), ord("d")]


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda folder: (folder / "a.png").write_text("no picture"), "a.png is not a picture that can be read"),
        (lambda folder: None, "there are no .png, .jpg, .jpeg files in"),
    ],
)
def test_a_folder_that_cannot_be_used(tmp_path, write, sentence):
    write(tmp_path)
    with pytest.raises(ValueError, match=sentence):
        read_images(tmp_path, (3, 2, 2), Preprocessing(), most=1)


def test_a_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="there is no folder of images"):
        read_images(tmp_path / "none", (3, 2, 2), Preprocessing(), most=1)


def test_arrays_are_taken_as_they_are_if_they_fit(tmp_path):
    rows = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    np.save(tmp_path / "x.npy", rows)
    found = read_images(tmp_path / "x.npy", (3, 4), Preprocessing(), most=1)
    assert found.dtype == np.float32
    assert (found == rows[:1]).all()
    with pytest.raises(ValueError, match=r"has shape \(2, 3, 4\), the net takes \(inputs, 3, 5\)"):
        read_images(tmp_path / "x.npy", (3, 5), Preprocessing(), most=1)
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="is not an array that NumPy can read"):
        read_images(tmp_path / "o.npy", (1,), Preprocessing(), most=1)


def test_numbers_that_do_not_fit_the_channels():
    with pytest.raises(ValueError, match="--mean has 2 numbers, the net's input has 3 channels"):
        Preprocessing(mean=(0.0, 1.0)).numbers(3)
    with pytest.raises(ValueError, match="--std must be greater than 0"):
        Preprocessing(std=(0.0,)).numbers(3)
