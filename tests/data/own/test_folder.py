"""A folder of pictures as a data set, against the arrays that the pictures were made of."""

from __future__ import annotations

import numpy as np
import pytest

from joulemark.data.own.folder import PictureFolder

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def test_classes_are_numbered_by_their_names_and_pictures_come_in_the_order_of_theirs(tmp_path):
    colours = [RNG.integers(0, 256, (4, 5, 3), np.uint8) for _ in range(3)]
    save(tmp_path / "dogs/deep/2.png", colours[2])
    save(tmp_path / "cats/b.PNG", colours[1])
    save(tmp_path / "cats/a.bmp", colours[0])
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "cats/notes.txt").write_text("not a picture")
    folder = PictureFolder("train()", tmp_path)
    assert folder.classes == ["cats", "dogs"]
    assert [folder[row][1] for row in range(len(folder))] == [0, 0, 1]
    for row, pixels in enumerate(colours):
        np.testing.assert_array_equal(folder[row][0], pixels.transpose(2, 0, 1))


def test_all_are_grey_if_the_first_one_is(tmp_path):
    grey = save(tmp_path / "a/1.png", RNG.integers(0, 256, (4, 5), np.uint8))
    save(tmp_path / "a/2.png", np.full((4, 5, 3), 90, np.uint8))
    folder = PictureFolder("train()", tmp_path)
    np.testing.assert_array_equal(folder[0][0], grey[None])
    np.testing.assert_array_equal(folder[1][0], np.full((1, 4, 5), 90))


def test_no_folder_and_no_pictures_get_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="there is no such folder"):
        PictureFolder("train()", tmp_path / "nowhere")
    save(tmp_path / "1.png", np.zeros((2, 2), np.uint8))  # in no class
    with pytest.raises(ValueError, match=r"no pictures in folders by class: put them into .*/CLASS/NAME\.png"):
        PictureFolder("train()", tmp_path)


@pytest.mark.parametrize("cut", [0, 30, 50])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, cut):
    save(tmp_path / "a/1.png", np.zeros((20, 20), np.uint8))
    whole = (tmp_path / "a/1.png").read_bytes()
    (tmp_path / "a/1.png").write_bytes(whole[:cut])
    with pytest.raises(ValueError, match=r"1\.png is no picture that can be read"):
        PictureFolder("train()", tmp_path)[0]
