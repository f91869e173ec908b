"""An image and a label become a video; the same seed makes it again; a saved model is the same model."""

import copy
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file, save_file

from lfdm_lite import LFDM, CheckpointError, GaussianDiffusion, GeneratedVideo, LatentFlowAutoencoder, Motion, UNet3D
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.files.media import MediaError
from lfdm_lite.generated import NotFiniteError
from lfdm_lite.inputs import Sampling, sampling
from lfdm_lite.training.presets import PRESETS

LABELS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]


def tiny_model(seed: int = 0) -> LFDM:
    """A model of random weights whose every part matters for the result."""
    run = PRESETS["tiny"].diffusion
    torch.manual_seed(seed)
    parts = LatentFlowAutoencoder(PRESETS["tiny"].autoencoder.model), UNet3D(run.unet), GaussianDiffusion(run.diffusion)
    model = LFDM(*parts, labels=LABELS, image_size=32)
    for parameter in model.unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    return model.save_pretrained(tmp_path_factory.mktemp("checkpoint") / "model")


@pytest.fixture
def folder(saved, tmp_path):
    """A checkpoint to break."""
    return shutil.copytree(saved, tmp_path / "model")


@pytest.fixture
def image():
    return torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(1))


def run(model, image, label, **options):
    return model.generate(image, label, **{"seed": 0, "steps": 3, "progress": False, **options})


# ---------------------------------------------------------------- generating


def test_an_image_and_a_label_become_a_video(model, image):
    result = run(model, image, "surprise")
    assert isinstance(result, GeneratedVideo) and len(result) == 1
    assert result.video.shape == (1, 3, 4, 32, 32) and result.video.dtype == torch.float32
    assert result.flow.shape == (1, 2, 4, 8, 8) and result.occlusion.shape == (1, 1, 4, 8, 8)
    assert 0 <= result.video.min() and result.video.max() <= 1
    assert 0 <= result.occlusion.min() and result.occlusion.max() <= 1
    assert result.label_names == ["surprise"] and result.seed == 0
    assert "surprise" in repr(result) and "4 frames" in repr(result)


def test_the_video_is_what_the_decoder_paints_from_the_motion(model, image):
    result = run(model, image, "fear")
    with torch.no_grad():
        painted = model.autoencoder.decode(result.source, Motion(result.flow, result.occlusion))
    torch.testing.assert_close(result.video, painted)


def test_the_same_seed_makes_the_same_clip_and_another_seed_another(model, image):
    first, again, other = (run(model, image, "anger", seed=seed).video for seed in (3, 3, 4))
    assert first.equal(again) and not torch.allclose(first, other, atol=1e-3)


def test_a_seed_that_was_drawn_can_be_used_again(model, image):
    first, second = run(model, image, "anger", seed=None), run(model, image, "anger", seed=None)
    assert first.seed != second.seed
    assert run(model, image, "anger", seed=first.seed).video.equal(first.video)


def test_torchs_global_generator_is_left_alone_when_a_seed_is_given(model, image):
    before = torch.get_rng_state()
    run(model, image, "anger", sampler="ddpm")
    assert before.equal(torch.get_rng_state())


@pytest.mark.parametrize("sampler", ["dpm++", "ddim", "ddpm"])
def test_a_clip_does_not_change_with_the_size_of_its_batch(model, image, sampler):
    one = run(model, image, "anger", sampler=sampler).video
    six = run(model, image, LABELS, sampler=sampler).video
    torch.testing.assert_close(one, six[:1], atol=1e-4, rtol=1e-4)


def test_clips_of_a_batch_get_different_noise(model, image):
    flow = run(model, image, ["anger", "anger"]).flow
    assert not torch.allclose(flow[0], flow[1], atol=1e-3)


def test_with_a_seed_for_each_clip_a_clip_of_a_batch_is_the_one_that_is_made_alone(model, image):
    batch = run(model, image, ["anger", "fear", "fear"], seed=(3, 3, 4))
    assert batch.seed == [3, 3, 4] and "seeds 3, 3, 4" in repr(batch) and batch[1:].seed == [3, 4]
    for i, (label, seed) in enumerate([("anger", 3), ("fear", 3), ("fear", 4)]):
        alone = run(model, image, label, seed=seed)
        torch.testing.assert_close(batch.flow[i], alone.flow[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(batch.video[i], alone.video[0], atol=1e-4, rtol=1e-4)
    of_one_seed = run(model, image, ["anger", "fear", "fear"], seed=3)  # the noise of a clip is that of its place
    assert not torch.allclose(of_one_seed.flow[1], batch.flow[1], atol=1e-3)


def test_several_seeds_make_a_batch_of_one_image_and_one_label(model, image):
    assert run(model, image, "anger", seed=np.arange(2)).seed == [0, 1]
    assert run(model, image, ["anger", "fear"], seed=[5]).seed == [5, 5]
    with pytest.raises(ValueError, match="got 3 labels and 2 seeds"):
        run(model, image, ["anger", "fear", "sadness"], seed=[0, 1])


def test_the_label_and_the_guidance_matter(model, image):
    plain = run(model, image, "anger", guidance_scale=1.0).flow
    assert not torch.allclose(plain, run(model, image, "fear", guidance_scale=1.0).flow, atol=1e-4)
    assert not torch.allclose(plain, run(model, image, "anger", guidance_scale=3.0).flow, atol=1e-4)
    unguided = [run(model, image, label, guidance_scale=0.0).flow for label in ("anger", "fear")]
    torch.testing.assert_close(*unguided)


def test_the_default_guidance_is_the_models_own(model, image):
    default, named = run(model, image, "anger"), run(model, image, "anger", guidance_scale=model.guidance_scale)
    assert default.video.equal(named.video)


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_guidance_counts_in_as_many_steps_as_are_asked(model, image, sampler):
    passes = []
    handle = model.unet.register_forward_pre_hook(lambda network, given: passes.append(len(given[0])))
    how = {"steps": 5, "guidance_scale": 2.0, "sampler": sampler}
    run(model, image, "anger", guided_steps=2, **how)
    assert passes == [2, 2, 1, 1, 1], "of one clip, two answers or one"
    passes.clear()
    run(model, [image] * 3, "anger", guided_steps=1, **how)
    handle.remove()
    assert passes == [6, 3, 3, 3, 3]
    all_of_them = run(model, image, "anger", **how).video
    assert all_of_them.equal(run(model, image, "anger", guided_steps=5, **how).video)
    assert not torch.allclose(all_of_them, run(model, image, "anger", guided_steps=1, **how).video, atol=1e-4)
    plain = how | {"guidance_scale": 1.0}
    both = [run(model, image, "anger", **plain, **few).video for few in ({}, {"guided_steps": 2})]
    torch.testing.assert_close(*both)


def test_a_model_that_says_how_few_steps_serve_it_takes_them_when_asked_to_be_fast(image, tmp_path):
    model = tiny_model()
    model.quick = (3, 1, 1.5)
    of_old = tiny_model()
    of_old.quick = (3, 1)  # as folders have it that were written before steps had a spacing
    assert LFDM.from_pretrained(of_old.save_pretrained(tmp_path / "old")).quick == (3, 1, 1.0)
    again = LFDM.from_pretrained(model.save_pretrained(tmp_path / "quick"))
    assert again.quick == (3, 1, 1.5)
    assert LFDM.from_pretrained(tiny_model().save_pretrained(tmp_path / "not")).quick is None
    how = {"seed": 0, "progress": False}
    fast = again.generate(image, "anger", fast=True, **how).video
    assert fast.equal(model.generate(image, "anger", steps=3, guided_steps=1, spacing=1.5, **how).video)
    assert not torch.allclose(fast, again.generate(image, "anger", **how).video, atol=1e-4), "20 steps, all guided"
    with pytest.raises(ValueError, match="has no fast network"):
        again.generate(image, "anger", fast=True, steps=4, **how)
    with pytest.raises(ValueError, match="has no fast network"):
        again.generate(image, "anger", fast=True, sampler="ddim", **how)
    with pytest.raises(ValueError, match="has no fast network"):
        tiny_model().generate(image, "anger", fast=True, **how)


def test_labels_may_be_names_or_numbers_of_whatever_make(model, image):
    expected = run(model, image, ["fear", "anger"])
    names, numbers = {"fear": 1, "anger": 2}.keys(), [torch.tensor(2), np.int64(0)]
    arrays = torch.tensor([2, 0]), np.array([2, 0]), np.array([2.0, 0.0]), np.array(["fear", "anger"])
    for label in ([2, 0], (2, "anger"), *arrays, names, numbers, range(2, -1, -2), (name for name in names)):
        result = run(model, image, label)
        assert result.video.equal(expected.video) and result.label_names == ["fear", "anger"]
    for label in (2, np.int64(2), np.float32(2), np.array(2), torch.tensor(2), torch.tensor([2]), np.str_("fear")):
        assert model.label_indices(label).tolist() == [2]


def test_numbers_may_be_of_whatever_make(model):
    makes = (int, float, np.int64, np.float32, np.array, torch.tensor, lambda number: torch.tensor([number]))
    for make in makes:
        how = sampling(model, make(3), make(2), "ddim", make(5), make(7), spacing=make(1))
        assert how == Sampling(3, 2.0, "ddim", 5, 7, 5, 1.0)
        assert [type(value) for value in vars(how).values()] == [int, float, str, int, int, int, float]


def test_images_and_labels_pair_up(model, image):
    other = 1 - image
    batch = run(model, [image, other], "fear")
    assert batch.label_names == ["fear", "fear"] and not torch.allclose(batch.source[0], batch.source[1])
    assert run(model, torch.stack([image, other]), "fear").video.equal(batch.video)
    assert run(model, [image, other], ["fear", "anger"]).label_names == ["fear", "anger"]
    with pytest.raises(ValueError, match="got 2 images and 3 labels"):
        run(model, [image, other], ["fear", "anger", "sadness"])


@pytest.mark.parametrize("num_frames", [1, 3, 9])
def test_videos_may_be_of_any_length(model, image, num_frames):
    assert run(model, image, "fear", num_frames=num_frames).video.shape == (1, 3, num_frames, 32, 32)


def test_training_mode_neither_matters_nor_changes(image):
    model = tiny_model()
    expected = run(model, image, "anger").video
    model.autoencoder.train()
    assert run(model, image, "anger").video.equal(expected)
    assert model.autoencoder.training and model.autoencoder.stem.training and not model.unet.training


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        ("smile", {}, r"label 'smile' is not one of: anger, disgust, fear, happiness, sadness, surprise$"),
        (6, {}, r"label 6 is not one of: anger, .*\(or 0 to 5\)"),
        (-1, {}, r"label -1 is not one of"),
        (True, {}, r"label True is not one of"),
        (np.True_, {}, r"label .*True.* is not one of"),
        ("Anger ", {}, r"label 'Anger ' is not one of: .*; did you mean 'anger'\?$"),
        (None, {}, r"label None is not one of"),
        (1.5, {}, r"label 1.5 is not one of"),
        ([], {}, r"no label was given; the labels are: anger"),
        ("anger", {"num_frames": 0}, r"num_frames is 0; expected a whole number at least 1"),
        ("anger", {"steps": 0}, r"steps is 0; expected a whole number from 1 to 1000"),
        ("anger", {"steps": 1001}, r"steps is 1001; expected a whole number from 1 to 1000"),
        ("anger", {"steps": 2.5}, r"steps is 2.5; expected a whole number"),
        ("anger", {"guided_steps": 0}, r"guided_steps is 0; expected a whole number from 1 to 3"),
        ("anger", {"guided_steps": 4}, r"guided_steps is 4; expected a whole number from 1 to 3"),
        ("anger", {"spacing": 0.9}, r"spacing is 0.9; expected a number from 1 \(evenly spaced\) to 10"),
        ("anger", {"spacing": "wide"}, r"spacing is 'wide'; expected a number from 1"),
        ("anger", {"seed": "1"}, r"seed is '1'; expected a whole number"),
        ("anger", {"seed": [0, "1"]}, r"seed is '1'; expected a whole number"),
        ("anger", {"seed": []}, r"no seed was given"),
        ("anger", {"num_frames": torch.tensor([1, 2])}, r"num_frames is tensor.*; expected a whole number"),
        ("anger", {"guidance_scale": "1.5"}, r"guidance_scale is '1.5'; expected a number from 0"),
        ("anger", {"guidance_scale": np.array([1.0, 2.0])}, r"guidance_scale is array.*; expected a number from 0"),
        ("anger", {"sampler": "euler"}, r"sampler 'euler' is not one of: "),
        ("anger", {"guidance_scale": -1.0}, r"guidance_scale is -1.0; expected a number from 0"),
        ("anger", {"guidance_scale": float("nan")}, r"guidance_scale is nan"),
    ],
)
def test_what_cannot_be_generated_is_said(model, image, label, options, message):
    with pytest.raises(ValueError, match=message):
        run(model, image, label, **options)


def test_an_eps_network_has_fewer_steps_than_its_diffusion_and_says_how_many(model, image):
    diffusion = GaussianDiffusion(replace(model.diffusion.config, parameterization="eps"))
    model = LFDM(model.autoencoder, model.unet, diffusion, LABELS, 32)
    usable = int((diffusion.exact_alpha_bar() >= 1e-3).sum())
    assert usable < 1000
    with pytest.raises(ValueError, match=rf"steps is 1000; expected a whole number from 1 to {usable}$"):
        run(model, image, "fear", steps=1000)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_in_another_precision_are_refused_in_words(image, dtype):
    with pytest.raises(ValueError, match=rf"the weights are {dtype}; sampling needs torch.float32: call .float\(\)"):
        run(tiny_model().to(dtype), image, "fear")


def test_another_default_precision_of_torch_is_refused_in_words(model, image):
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ValueError, match="default dtype is torch.float64; sampling needs torch.float32"):
            run(model, image, "fear")
    finally:
        torch.set_default_dtype(torch.float32)


# ---------------------------------------------------------------- images from disk


def picture(mode: str) -> Image.Image:
    ramp = np.linspace(0, 255, 48 * 36).reshape(36, 48)
    rgb = np.stack([ramp, ramp**2 / 255, ramp[:, ::-1]], axis=2).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray((ramp * 257).astype(np.uint16))
    return Image.fromarray(rgb).convert("RGB").convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [(mode, "png") for mode in ("RGB", "RGBA", "P", "L", "LA", "1", "I;16")]
    + [("RGB", "jpg"), ("CMYK", "jpg"), ("L", "bmp"), ("P", "gif")],
)
def test_pictures_of_every_mode_work(model, tmp_path, mode, suffix):
    path = tmp_path / f"picture.{suffix}"
    picture(mode).save(path)
    assert model.prepare_images(path).shape == (1, 3, 32, 32)
    result = run(model, str(path), "fear", steps=1)
    assert result.source.min() < 0.3 and result.source.max() > 0.7, "the picture became flat"


def test_a_picture_that_a_camera_turned_is_turned_back(model, tmp_path):
    upright = picture("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown after a quarter turn clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    torch.testing.assert_close(*(model.prepare_images(tmp_path / f"{name}.png") for name in ("turned", "upright")))


def test_pictures_in_memory_work_too(model):
    as_pil = picture("RGB")
    as_array = np.asarray(as_pil)
    as_tensor = torch.from_numpy(as_array.copy()).permute(2, 0, 1) / 255
    expected = model.prepare_images(as_pil)
    torch.testing.assert_close(model.prepare_images(as_array), expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(model.prepare_images(as_tensor), expected, atol=1e-3, rtol=0)
    assert model.prepare_images([as_pil, as_array]).shape == (2, 3, 32, 32)


def test_what_is_no_picture_is_named(model, tmp_path):
    (tmp_path / "note.png").write_text("not a picture")
    with pytest.raises(MediaError, match="note.png"):
        run(model, tmp_path / "note.png", "fear")
    with pytest.raises(MediaError, match="absent.png"):
        run(model, tmp_path / "absent.png", "fear")
    with pytest.raises(ValueError, match="no image was given"):
        run(model, [], "fear")


# ---------------------------------------------------------------- showing and keeping videos


def test_videos_are_saved_by_suffix(model, image, tmp_path):
    from lfdm_lite.files.media import read_video

    result = run(model, image, ["fear", "anger"])
    for name in ("out.gif", "deep/er/out.mp4"):
        assert result.save(tmp_path / name) == tmp_path / name
        _, frames, height, width = read_video(tmp_path / name).shape
        assert frames == 4 and height > 32 and width > 2 * 32, "side by side, each with its label above"
    assert read_video(result[0].save(tmp_path / "one.GIF", scale=2)).shape == (3, 4, 64, 64)
    with Image.open(result.save(tmp_path / "sheet.png")) as sheet:
        assert sheet.width > 5 * 32 and sheet.height > 2 * 32
    with pytest.raises(ValueError, match=r"cannot save a video as 'out.avi': the name must end in .gif, .mp4, .png"):
        result.save(tmp_path / "out.avi")
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(ValueError, match="folder.gif is a folder; expected the name of a file"):
        result.save(tmp_path / "folder.gif")
    with pytest.raises(ValueError, match="scale is 0"):
        result.save(tmp_path / "out.gif", scale=0)


def test_clips_can_be_taken_one_by_one(model, image):
    result = run(model, image, ["fear", "anger"])
    assert result[1].label_names == ["anger"] and result[1].video.equal(result.video[1:])
    assert result[-1].video.equal(result.video[1:])
    assert [clip.label_names[0] for clip in result] == ["fear", "anger"]
    for index in (2, -3, 1.0, "fear", [0, 2], None):
        with pytest.raises(IndexError, match="of 2"):
            result[index]


def test_several_clips_can_be_taken_as_from_a_sequence(model, image):
    result = run(model, image, ["fear", "anger", "sadness"])
    for index in (slice(1, None), [1, 2], np.array([1, 2]), torch.tensor([1, 2]), range(1, 3), [False, True, True]):
        part = result[index]
        assert part.label_names == ["anger", "sadness"] and part.video.equal(result.video[1:])
        assert part.flow.equal(result.flow[1:]) and part.source.equal(result.source[1:]) and len(part) == 2
    assert result[::-1].label_names == ["sadness", "anger", "fear"] and len(result[3:]) == 0
    for index in (np.int64(1), torch.tensor(1), np.array([1])):
        assert result[index].label_names == ["anger"]


def test_rates_and_scales_may_be_of_whatever_make(model, image, tmp_path):
    from lfdm_lite.files.media import read_video

    clip = run(model, image, "fear")
    for make in (np.int64, np.float32, float, torch.tensor):
        for name in ("a.gif", "a.mp4", "a.png"):
            clip.save(tmp_path / name, fps=make(8), scale=make(2))
        assert read_video(tmp_path / "a.mp4").shape == read_video(tmp_path / "a.gif").shape == (3, 4, 64, 64)
    for name, options, said in (
        ("a.gif", {"scale": 1.5}, "scale is 1.5; expected a whole number"),
        ("a.png", {"scale": "2"}, "scale is '2'; expected a whole number"),
        ("a.mp4", {"fps": "8"}, "fps is '8'; expected a number above 0"),
        ("a.mp4", {"fps": float("inf")}, "fps is inf; expected a number above 0"),
        ("a.mp4", {"scale": 10**6}, "a.mp4 would have more than 90 million pixels; the largest scale is 148"),
    ):
        with pytest.raises(ValueError, match=said):
            clip.save(tmp_path / name, **options)


def test_saving_through_a_link_keeps_the_link(model, image, tmp_path):
    clip = run(model, image, "fear")
    (tmp_path / "link.gif").symlink_to("there.gif")
    assert clip.save(tmp_path / "link.gif") == tmp_path / "link.gif"
    assert (tmp_path / "link.gif").is_symlink() and (tmp_path / "there.gif").is_file()
    (tmp_path / "other.gif").symlink_to("there.txt")
    with pytest.raises(ValueError, match="it is a link to .*there.txt, whose name must end in .gif too"):
        clip.save(tmp_path / "other.gif")


def test_a_notebook_shows_every_clip(model, image):
    page = run(model, image, ["fear", "anger"])._repr_html_()
    assert page.count("data:image/gif;base64,") == 2 and "fear" in page and "anger" in page


# ---------------------------------------------------------------- saving and loading


def test_a_model_read_back_makes_the_same_video(model, saved, image):
    loaded = LFDM.from_pretrained(saved)
    assert loaded.labels == LABELS and loaded.image_size == 32 and loaded.guidance_scale == model.guidance_scale
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert run(loaded, image, "fear").video.equal(run(model, image, "fear").video)
    assert sorted(p.name for p in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_a_model_kept_in_half_precision_makes_nearly_the_same_video(model, image, tmp_path):
    loaded = LFDM.from_pretrained(str(model.save_pretrained(tmp_path, dtype=torch.float16)))
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert loaded.diffusion.alpha_bar.equal(model.diffusion.alpha_bar)
    assert (run(loaded, image, "fear").video - run(model, image, "fear").video).abs().mean() < 0.02


def test_half_files_are_never_left_under_the_real_names(model, folder, monkeypatch):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        tiny_model(1).save_pretrained(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def edit_config(folder, edit):
    config = json.loads((folder / "config.json").read_text())
    edit(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["unet"].update(depth=3), r"config.json: unet has an unknown field 'depth'; UNet3DConfig knows"),
        (lambda c: c.update(colour="red"), r"config.json has an unknown field 'colour'"),
        (lambda c: c.pop("labels"), r"config.json lacks the field 'labels'"),
        (lambda c: c.update(labels=["a", "b"]), r"2 labels \(a, b\), expected 6 different ones"),
        (lambda c: c.update(labels=["a"] * 6), r"expected 6 different ones"),
        (lambda c: c.update(image_size=33), r"image_size is 33; these networks need a multiple of"),
        (lambda c: c.update(image_size="big"), r"image_size 'big'"),
        (lambda c: c["autoencoder"].update(latent_channels=17), r"config.json does not describe a model|17"),
        (lambda c: c["unet"].update(dim="wide"), r"unet.dim is 'wide', expected int"),
        (lambda c: c["diffusion"].update(schedule="steep"), r"schedule"),
        (lambda c: c["diffusion"].update(flow_std=[float("nan"), 1.0]), r"config.json is not valid JSON: 'NaN' is no"),
        (lambda c: c["autoencoder"].update(temperature=True), r"autoencoder.temperature is True, expected a number"),
        (lambda c: c["unet"].update(dim=True), r"unet.dim is True, expected int"),
        (lambda c: c.update(guidance_scale=1e30), r"guidance_scale is 1e\+30, expected a number from 0 to 1,000"),
        (lambda c: c.update(guidance_scale=True), r"guidance_scale is True, expected a number"),
        (lambda c: c.update(quick=[5]), r"quick is \[5\]; expected steps, how many of them are guided, and their"),
        (lambda c: c.update(quick=[5, 6]), r"guided steps of quick is 6; expected a whole number from 1 to 5"),
        (lambda c: c.update(quick="5"), r"quick is '5'; expected steps, how many of them"),
        (lambda c: c.update(quick=[5, 1, 0.5]), r"spacing of quick is 0.5; expected a number from 1 \(evenly spaced\)"),
        (lambda c: c["unet"].update(heads=0), r"tensor 'unet.* has shape .*, expected .*0"),
        (lambda c: c["unet"].update(norm_groups=0), r"unet does not fit UNet3DConfig: .*norm_groups=0"),
        (lambda c: c["autoencoder"].update(num_down=10**9), r"num_down is 1000000000, expected a number from 0 to 12"),
        (
            lambda c: c["autoencoder"].update(num_residual=10**6),
            r"num_residual is 1000000, expected a .* from 0 to 256",
        ),
        (lambda c: c["autoencoder"].update(num_residual=256), r"tensor 'autoencoder.residual.* is missing"),
        (lambda c: c["autoencoder"].update(width=65_536), r"tensor 'autoencoder.* has shape"),
        (lambda c: c["unet"].update(dim=65_536), r"tensor 'unet.* has shape .*, expected"),
        (lambda c: c["unet"].update(dim_mults=[1] * 10**4), r"unet.dim_mults has 10000 entries, expected at most 12"),
        (lambda c: c.update(labels=["a" * 20_000, *"bcdef"]), r"labels is a text of 20000 letters, expected at most"),
        (lambda c: c.update(kind="VideoClassifier"), r"is of kind 'VideoClassifier', expected 'LFDM'"),
    ],
)
def test_a_config_that_does_not_fit_is_named(folder, edit, message):
    edit_config(folder, edit)
    with pytest.raises(CheckpointError, match=message):
        LFDM.from_pretrained(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("unet.head.bias"), r"tensor 'unet.head.bias' of shape \(3,\) is missing"),
        (lambda t: t.update({"unet.head.bias": torch.zeros(9)}), r"'unet.head.bias' has shape \(9,\), expected \(3,\)"),
        (lambda t: t.update({"unet.tail": torch.zeros(9)}), r"unexpected tensor 'unet.tail' of shape \(9,\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(folder, edit, message):
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=message) as caught:
        LFDM.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_a_save_that_ends_between_two_steps_leaves_the_old_or_the_new_model(model, folder, image, monkeypatch):
    replace, other = os.replace, tiny_model(1)
    other.guidance_scale = 3.0
    for done, expected in ((0, model), (1, other)):
        left = [done]

        def stop_after_some(*names, left=left):
            if not left[0]:
                raise OSError(5, "stopped")
            left[0] -= 1
            replace(*names)

        monkeypatch.setattr(os, "replace", stop_after_some)
        with pytest.raises(OSError, match="stopped"):
            other.save_pretrained(folder)
        loaded = LFDM.from_pretrained(folder)
        assert loaded.guidance_scale == expected.guidance_scale
        assert run(loaded, image, "fear").video.equal(run(expected, image, "fear").video)


def test_compiled_and_wrapped_parts_are_saved_like_others(model, image, tmp_path):
    wrapped = LFDM(model.autoencoder, model.unet, model.diffusion, LABELS, 32)
    wrapped.unet, wrapped.autoencoder = torch.compile(model.unet), torch.nn.DataParallel(model.autoencoder)
    wrapped.save_pretrained(tmp_path / "parts")
    torch.compile(model).save_pretrained(tmp_path / "whole")
    for name in ("parts", "whole"):
        loaded = LFDM.from_pretrained(tmp_path / name)
        assert run(loaded, image, "fear").video.equal(run(model, image, "fear").video)


def test_a_number_that_is_none_in_the_weights_is_named(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["unet.head.bias"][0] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="tensor 'unet.head.bias' holds nan in 1 of 3 places"):
        LFDM.from_pretrained(folder)


def test_a_result_that_is_not_finite_is_refused(model, image):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.unet.head.bias.fill_(3e38)
    with pytest.raises(NotFiniteError, match="at guidance_scale 1.5: use a smaller one, such as 1.5; if that does not"):
        run(broken, image, "fear", guidance_scale=1.5)


def test_guidance_beyond_what_shows_anything_is_refused(model, image):
    with pytest.raises(ValueError, match=r"guidance_scale is 1e\+30; expected a number from 0 .* to 1000"):
        run(model, image, "fear", guidance_scale=1e30)


# ---------------------------------------------------------------- what goes along, and where


def test_a_model_card_says_what_the_hub_and_people_ask_and_is_never_overwritten(model, tmp_path):
    folder = model.save_pretrained(tmp_path / "my model")
    card = ModelCard.load(folder / "README.md")
    assert (card.data.library_name, card.data.license, card.data.pipeline_tag) == ("lfdm_lite", "mit", "image-to-video")
    assert card.text.strip().startswith("# my model") and "| 32x32 pixels, RGB |" in card.text
    assert all(f"`{label}`" in card.text for label in LABELS) and "from_pretrained('my model')" in card.text
    (folder / "README.md").write_text("what I know of it")
    model.save_pretrained(folder)
    assert (folder / "README.md").read_text() == "what I know of it"


def test_what_was_uploaded_is_the_model_with_its_card(model, monkeypatch, tmp_path):
    uploaded = {}

    class Hub:
        def __init__(self, token=None):
            uploaded["token"] = token

        def create_repo(self, repo_id, **options):
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, folder_path, **options):
            shutil.copytree(folder_path, tmp_path / "uploaded")
            uploaded.update(options)

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Hub)
    options = {"repo_id": "me/faces", "token": "mine", "commit_message": "first"}
    model.save_pretrained(tmp_path / "here", push_to_hub=True, **options)
    assert (uploaded["repo_id"], uploaded["token"], uploaded["commit_message"]) == ("me/faces", "mine", "first")
    assert sorted(p.name for p in (tmp_path / "uploaded").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert "# faces" in (tmp_path / "uploaded" / "README.md").read_text()
    assert LFDM.from_pretrained(tmp_path / "uploaded").labels == LABELS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"safe_serialization": True},
            r"save_pretrained has no option 'safe_serialization'; it knows dtype and overwrite",
        ),
        ({"config": {"a": 1}}, r"has no option 'config'"),
        ({"push_to_hub": True, "colour": None}, r"has no option 'colour'; .* with push_to_hub=True: repo_id, .*token"),
        ({"token": "mine"}, r"got 'token', which is of an upload: add push_to_hub=True, or leave it out"),
        ({"repo_id": "me/faces"}, r"got 'repo_id', which is of an upload"),
    ],
)
def test_an_option_that_nobody_knows_is_named_and_nothing_is_written(model, tmp_path, options, message):
    with pytest.raises(TypeError, match=message):
        model.save_pretrained(tmp_path / "model", **options)
    assert not (tmp_path / "model").exists()


def test_another_kind_of_model_is_not_replaced(model, tmp_path):
    VideoClassifier(3).save(tmp_path)
    with pytest.raises(CheckpointError, match="holds a checkpoint of kind 'VideoClassifier', which would be lost"):
        model.save_pretrained(tmp_path)
    assert VideoClassifier.load(tmp_path).config.num_labels == 3
    model.save_pretrained(tmp_path, overwrite=True)
    with pytest.raises(CheckpointError, match="holds a checkpoint of kind 'LFDM'"):
        VideoClassifier(3).save(tmp_path)


def test_a_device_that_cannot_be_used_is_named(saved):
    for device in ("cuda:99", "meta", "abacus"):
        with pytest.raises(ValueError, match=f"device '{device}'") as caught:
            LFDM.from_pretrained(saved, device=device)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_a_path_is_never_looked_up_on_the_hub(monkeypatch, tmp_path):
    def download(*_, **__):
        pytest.fail("went to the Hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in ("./a/b", str(tmp_path / "a"), "model", "a/b/c", "runs/x", "../a", "~/no/such", Path("a/b")):
        with pytest.raises(CheckpointError, match="no checkpoint folder at"):
            LFDM.from_pretrained(name)


def test_a_hub_that_cannot_be_reached_is_said_in_one_line(monkeypatch):
    def download(*_, **__):
        raise ConnectionError("Name or service not known\nand much more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(CheckpointError, match=r"'someone/model' is no folder here and could not .*: Name or .* known$"):
        LFDM.from_pretrained("someone/model")


def test_a_model_from_the_hub_is_loaded_from_where_it_was_put(monkeypatch, saved):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(saved))
    assert LFDM.from_pretrained("someone/model").labels == LABELS


def test_parts_that_do_not_fit_together_are_refused(model):
    parts = model.autoencoder, model.unet, model.diffusion
    with pytest.raises(ValueError, match="expected 6 different names"):
        LFDM(*parts, labels=["anger"])
    with pytest.raises(ValueError, match="image_size is 33"):
        LFDM(*parts, labels=LABELS, image_size=33)
