"""Detector, mesh, alignment, embedder and quality: the real models on real photos."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.config import DetectorConfig, ModelsConfig, QualityConfig
from edge.core.errors import ModelError
from edge.core.records import BgrImage, Box, Face, FloatArray, Frame, Landmarks, Quality
from edge.vision import manifest
from edge.vision.aligner import Aligner, similarity
from edge.vision.detector import Detector, most_prominent_face
from edge.vision.embedder import Embedder
from edge.vision.face_mesh import pose_deg
from edge.vision.face_sampler import VisionStages
from edge.vision.quality import measure_quality, too_small, with_embedding_norm
from edge.vision.tflite import TfliteModel

Photo = Callable[[str], BgrImage]
OnlyFace = Callable[[BgrImage], Face]
PORTRAITS = ("obama2", "obama3", "biden", "astronaut")


def framed(pixels: BgrImage) -> Frame:
    return Frame(pixels, 0, 0)


def rotated(pixels: BgrImage, degrees: float) -> BgrImage:
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def embedding(vision: VisionStages, pixels: BgrImage) -> FloatArray:
    face = most_prominent_face(vision.detector.detect(framed(pixels)), pixels.shape[1], pixels.shape[0])
    assert face is not None
    vector = vision.reader.sample(framed(pixels), face).embedding
    assert vector is not None
    return vector


@pytest.fixture(scope="module")
def near() -> Detector:
    return Detector(TfliteModel("detector-near", ModelsConfig()), DetectorConfig())


class TestDetector:
    @pytest.mark.parametrize("stem", PORTRAITS)
    def test_finds_the_one_face_of_a_portrait(self, photo: Photo, only_face: OnlyFace, stem: str) -> None:
        """Its eyes are above nose and mouth, inside the box."""
        face = only_face(photo(stem))
        right, left, nose, mouth = face.keypoints_px[:4]
        assert right[0] < nose[0] < left[0]
        assert max(right[1], left[1]) < nose[1] < mouth[1]
        assert face.box.left < right[0]
        assert left[0] < face.box.right
        assert face.score > 0.6

    @pytest.mark.parametrize("stem", PORTRAITS)
    def test_near_and_far_agree(self, photo: Photo, only_face: OnlyFace, near: Detector, stem: str) -> None:
        far_face = only_face(photo(stem))
        near_faces = near.detect(framed(photo(stem)))
        assert max(face.box.iou(far_face.box) for face in near_faces) > 0.5

    def test_no_face_in_an_empty_room(self, vision: VisionStages, near: Detector) -> None:
        rng = np.random.default_rng(0)
        wall = rng.normal(120, 10, (480, 640, 3)).clip(0, 255).astype(np.uint8)
        for picture in (wall, np.zeros_like(wall), np.full_like(wall, 255)):
            assert vision.detector.detect(framed(picture)) == []
            assert near.detect(framed(picture)) == []

    @pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1280, 720), (641, 479)])
    def test_positions_in_frames_of_any_shape(
        self, photo: Photo, vision: VisionStages, only_face: OnlyFace, width: int, height: int
    ) -> None:
        """A portrait pasted into frames of other shapes is found at its position."""
        portrait = np.asarray(
            cv2.resize(photo("biden"), None, fx=0.65, fy=0.65, interpolation=cv2.INTER_AREA), np.uint8
        )
        alone = only_face(portrait)
        left, top = width - portrait.shape[1] - 7, height - portrait.shape[0] - 5
        frame = np.full((height, width, 3), 128, np.uint8)
        frame[top : top + portrait.shape[0], left : left + portrait.shape[1]] = portrait
        (face,) = vision.detector.detect(framed(frame))
        moved = Box(alone.box.left + left, alone.box.top + top, alone.box.right + left, alone.box.bottom + top)
        assert face.box.iou(moved) > 0.7

    def test_blending_and_limit_of_faces(self, photo: Photo, vision: VisionStages) -> None:
        portrait = cv2.resize(photo("biden"), (240, 240 * photo("biden").shape[0] // photo("biden").shape[1]))
        half = cv2.resize(portrait, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
        frame = np.full((max(480, portrait.shape[0]), 640, 3), 128, np.uint8)
        frame[: portrait.shape[0], :240] = portrait
        frame[: half.shape[0], 400 : 400 + half.shape[1]] = half
        faces = vision.detector.detect(framed(frame))
        assert len(faces) == 2
        assert faces[0].box.area > faces[1].box.area
        assert faces[0].box.centre[0] < 240

    def test_subject_of_a_photo(self) -> None:
        keypoints = np.zeros((6, 2), np.float32)
        middle = Face(Box(100, 100, 160, 160), keypoints, 0.9)
        corner = Face(Box(0, 0, 70, 70), keypoints, 0.9)
        assert most_prominent_face([corner, middle], 256, 256) is middle
        assert most_prominent_face([], 256, 256) is None


class TestLandmarks:
    @pytest.mark.parametrize("stem", PORTRAITS)
    def test_mesh_on_the_detected_face(
        self, photo: Photo, vision: VisionStages, only_face: OnlyFace, stem: str
    ) -> None:
        face = only_face(photo(stem))
        sample = vision.reader.sample(framed(photo(stem)), face)
        assert sample.landmarks is not None
        points = sample.landmarks.five_px
        eyes = math.dist(points[0], points[1])
        assert np.linalg.norm(points[:3] - face.keypoints_px[:3], axis=1).max() < 0.35 * eyes
        assert sample.landmarks.presence > 0.9

    @pytest.mark.parametrize("degrees", [-20, 20])
    def test_mesh_of_a_rotated_picture(
        self, photo: Photo, vision: VisionStages, only_face: OnlyFace, degrees: float
    ) -> None:
        """After rotating back, every point is at its place within a small share of the eye distance."""
        upright = photo("biden")
        turned = rotated(upright, degrees)
        one = vision.reader.sample(framed(upright), only_face(upright)).landmarks
        other = vision.reader.sample(framed(turned), only_face(turned)).landmarks
        assert one is not None
        assert other is not None
        matrix = cv2.getRotationMatrix2D((upright.shape[1] / 2, upright.shape[0] / 2), degrees, 1.0)
        expected = one.five_px @ matrix[:, :2].T + matrix[:, 2]
        assert pose_deg(one)[2] - pose_deg(other)[2] == pytest.approx(-degrees, abs=4)
        eyes = math.dist(*one.five_px[:2])
        assert np.linalg.norm(other.five_px - expected, axis=1).max() < 0.12 * eyes

    def test_pose_of_a_mirrored_picture(self, photo: Photo, vision: VisionStages, only_face: OnlyFace) -> None:
        straight = photo("obama3")
        mirrored = np.ascontiguousarray(straight[:, ::-1])
        poses = []
        for picture in (straight, mirrored):
            landmarks = vision.reader.sample(framed(picture), only_face(picture)).landmarks
            assert landmarks is not None
            poses.append(pose_deg(landmarks))
        (yaw, pitch, roll), (other_yaw, other_pitch, other_roll) = poses
        assert abs(yaw) > 5
        assert yaw == pytest.approx(-other_yaw, abs=5)
        assert pitch == pytest.approx(other_pitch, abs=5)
        assert roll == pytest.approx(-other_roll, abs=5)


class TestAligner:
    def test_recovers_a_known_similarity(self) -> None:
        rng = np.random.default_rng(0)
        source = rng.uniform(0, 100, (5, 2)).astype(np.float32)
        known = np.array([[0.8, -0.3, 12.0], [0.3, 0.8, -7.0]])
        target = source.astype(np.float64) @ known[:, :2].T + known[:, 2]
        assert similarity(source.tolist(), target.tolist()) == pytest.approx(known, abs=1e-4)

    def test_agrees_with_least_squares(self) -> None:
        """Against the general solver on the four unknowns a, b, x, y of [[a, -b, x], [b, a, y]]."""
        rng = np.random.default_rng(1)
        source = rng.uniform(0, 100, (5, 2)).astype(np.float32)
        target = rng.uniform(0, 112, (5, 2))
        rows, right = [], []
        for (x, y), (u, v) in zip(source.astype(float), target, strict=True):
            rows += [[x, -y, 1, 0], [y, x, 0, 1]]
            right += [u, v]
        a, b, shift_x, shift_y = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
        assert similarity(source.tolist(), target.tolist()) == pytest.approx(
            np.array([[a, -b, shift_x], [b, a, shift_y]]), abs=1e-6
        )

    @pytest.mark.parametrize("stem", PORTRAITS)
    def test_eyes_at_the_template(self, photo: Photo, vision: VisionStages, only_face: OnlyFace, stem: str) -> None:
        """The mesh of the aligned crop has its eyes at the positions of the template."""
        template = manifest.read_manifest(manifest.default_folder()).models["embedder"].template_px
        landmarks = vision.reader.sample(framed(photo(stem)), only_face(photo(stem))).landmarks
        assert landmarks is not None
        into = np.zeros((112, 112, 3), np.uint8)
        crop = Aligner(template, into).align(framed(photo(stem)), landmarks)
        assert crop is into
        matrix = similarity(landmarks.five_px.tolist(), template)
        moved = landmarks.five_px @ matrix[:, :2].T + matrix[:, 2]
        assert np.abs(moved - np.array(template)).max() < 8


class TestEmbedder:
    def test_distances_of_one_person_and_others(self, photo: Photo, vision: VisionStages) -> None:
        vectors = {stem: embedding(vision, photo(stem)) for stem in PORTRAITS}
        for vector in vectors.values():
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        distance = {(a, b): float(np.sum((vectors[a] - vectors[b]) ** 2)) for a in vectors for b in vectors}
        assert distance["obama2", "obama3"] < 0.9
        for other in ("biden", "astronaut"):
            assert min(distance["obama2", other], distance["obama3", other]) > 1.4

    def test_equal_bytes_of_equal_pictures(self, photo: Photo, vision: VisionStages) -> None:
        assert embedding(vision, photo("biden")).tobytes() == embedding(vision, photo("biden")).tobytes()

    def test_distance_of_a_mirrored_face(self, photo: Photo, vision: VisionStages, only_face: OnlyFace) -> None:
        face = only_face(photo("obama2"))
        sample = vision.reader.sample(framed(photo("obama2")), face)
        assert sample.embedding is not None
        assert sample.landmarks is not None
        mirrored = vision.reader.embed_mirrored(framed(photo("obama2")), sample.landmarks)
        assert 0 < float(np.sum((sample.embedding - mirrored) ** 2)) < 0.5
        again = vision.reader.sample(framed(photo("obama2")), face, mirrored=True).embedding
        assert again is not None
        assert np.array_equal(mirrored, again)

    def test_alignment_of_a_mirror_image(self, photo: Photo, vision: VisionStages, only_face: OnlyFace) -> None:
        sample = vision.reader.sample(framed(photo("biden")), only_face(photo("biden")))
        straight = vision.reader.embedder.pixels.copy()
        assert sample.landmarks is not None
        vision.reader.embed_mirrored(framed(photo("biden")), sample.landmarks)
        turned = vision.reader.embedder.pixels[:, ::-1]
        assert np.abs(straight.astype(int) - turned.astype(int)).mean() < 0.5


class TestQuality:
    def test_accepted_portrait(self, photo: Photo, vision: VisionStages, only_face: OnlyFace) -> None:
        quality = vision.reader.sample(framed(photo("obama2")), only_face(photo("obama2"))).quality
        assert quality.refusal == ""
        assert 0.5 < quality.weight <= 1

    def test_refusal_of_a_blurred_face(self, photo: Photo, vision: VisionStages, only_face: OnlyFace) -> None:
        soft = np.asarray(cv2.GaussianBlur(photo("obama2"), (0, 0), 9), np.uint8)
        assert vision.reader.sample(framed(soft), only_face(soft)).quality.refusal == "blurred"

    def test_refusal_of_a_tiny_face_before_the_mesh(
        self, photo: Photo, vision: VisionStages, only_face: OnlyFace
    ) -> None:
        face = only_face(photo("biden"))
        tiny = Face(face.box, face.keypoints_px / np.float32(20), face.score)
        sample = vision.reader.sample(framed(photo("biden")), tiny)
        assert (sample.quality.refusal, sample.landmarks, sample.embedding) == ("too-small", None, None)

    def test_tolerance_of_the_early_size_check(self) -> None:
        """Just below the limit the mesh decides, because it locates the eyes more exactly than the detector."""
        eyes = np.array([[0, 0], [15, 0]], np.float32)
        assert too_small(eyes, QualityConfig(min_size_px=18)) is None
        assert too_small(eyes, QualityConfig(min_size_px=30)) is not None

    def test_refusal_without_a_face(self, vision: VisionStages) -> None:
        nobody = Landmarks(np.zeros((468, 3), np.float32), np.zeros((5, 2), np.float32), presence=0.49)
        assert measure_quality(nobody, np.full((112, 112, 3), 90, np.uint8), QualityConfig()).refusal == "no-face"

    @pytest.mark.parametrize(
        ("config", "refusal"),
        [
            (QualityConfig(min_size_px=500), "too-small"),
            (QualityConfig(max_yaw_deg=0.01), "turned-away"),
            (QualityConfig(max_pitch_deg=0.01), "tilted"),
            (QualityConfig(min_sharpness=1e6), "blurred"),
            (QualityConfig(min_brightness=250), "too-dark"),
            (QualityConfig(max_glare=-1), "too-bright"),
        ],
    )
    def test_reasons_of_refusals(
        self, photo: Photo, vision: VisionStages, only_face: OnlyFace, config: QualityConfig, refusal: str
    ) -> None:
        landmarks = vision.reader.sample(framed(photo("obama3")), only_face(photo("obama3"))).landmarks
        assert landmarks is not None
        assert measure_quality(landmarks, vision.reader.embedder.pixels, config).refusal == refusal

    def test_refusal_of_dark_and_bright_faces(self, photo: Photo, vision: VisionStages, only_face: OnlyFace) -> None:
        """The crop of a good portrait with other light, and the same mesh."""
        landmarks = vision.reader.sample(framed(photo("obama2")), only_face(photo("obama2"))).landmarks
        assert landmarks is not None
        crop = vision.reader.embedder.pixels.astype(np.float32)
        for gain, refusal in ((0.05, "too-dark"), (0.5, ""), (1.0, ""), (8.0, "too-bright")):
            lit = np.clip(crop * gain, 0, 255).astype(np.uint8)
            quality = measure_quality(landmarks, lit, QualityConfig(min_sharpness=0))
            assert quality.refusal == refusal, gain
            face = cv2.cvtColor(lit, cv2.COLOR_BGR2GRAY)[28:104, 24:88]
            assert quality.brightness == pytest.approx(face.mean(), abs=0.01)
            assert quality.glare == pytest.approx((face > 244).mean(), abs=1e-6)

    def test_weight_of_a_covered_face(self, photo: Photo, vision: VisionStages, only_face: OnlyFace) -> None:
        """A band over the eyes reduces the weight; with a stricter configuration the sample is refused as unclear."""
        pixels = photo("obama2")
        whole = vision.reader.sample(framed(pixels), only_face(pixels))
        assert whole.landmarks is not None
        (right, left) = whole.landmarks.five_px[:2].astype(int)
        reach = whole.quality.size_px / 2
        covered = pixels.copy()
        corners = (int(right[0] - reach), int(right[1] - reach)), (int(left[0] + reach), int(left[1] + reach))
        cv2.rectangle(covered, *corners, (20, 20, 20), -1)
        sample = vision.reader.sample(framed(covered), only_face(pixels))
        assert 0 < sample.quality.embedding_norm < 0.85 * whole.quality.embedding_norm
        gates = QualityConfig(min_norm=sample.quality.embedding_norm + 0.01)
        assert with_embedding_norm(whole.quality, whole.quality.embedding_norm, gates) == whole.quality
        refused = with_embedding_norm(
            measure_quality(whole.landmarks, vision.reader.embedder.pixels, gates), sample.quality.embedding_norm, gates
        )
        assert (refused.refusal, refused.weight) == ("unclear", 0)

    def test_weight_by_embedding_norm(self) -> None:
        seen = Quality(1.0, 60, 0, 0, 0, 500)
        config = QualityConfig(min_norm=0.6, full_weight_norm=1.0)
        weights = [with_embedding_norm(seen, strength, config).weight for strength in (0.59, 0.6, 0.7, 0.9, 1.0, 1.3)]
        assert weights == sorted(weights)
        assert (weights[0], weights[-2], weights[-1]) == (0, 1, 1)
        assert weights[3] == pytest.approx(((0.9 - 0.43) / (1 - 0.43)) ** 2)

    def test_weight_without_a_typical_norm(self) -> None:
        seen = Quality(1.0, 60, 0, 0, 0, 500)
        assert with_embedding_norm(seen, 0.0, QualityConfig()) == seen

    def test_embedding_norm_of_ordinary_photos(self, photo: Photo, vision: VisionStages, only_face: OnlyFace) -> None:
        for stem in PORTRAITS:
            quality = vision.reader.sample(framed(photo(stem)), only_face(photo(stem))).quality
            assert 0.8 < quality.embedding_norm < 1.4, stem


def compiled(folder: Path) -> None:
    """Make the embedder of a models folder look compiled by edgetpu_compiler, by bytes after the model."""
    path = folder / "embedder.tflite"
    path.write_bytes(path.read_bytes() + b"edgetpu-custom-op")
    entries = json.loads((folder / "manifest.json").read_text())
    embedder = entries["models"]["embedder"]
    embedder["compiled_from"] = embedder["sha256"]
    embedder["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(entries))


class TestModelFiles:
    @pytest.fixture
    def copy(self, tmp_path: Path) -> Path:
        """A copy of the models folder that the test may damage."""
        for path in manifest.default_folder().iterdir():
            if path.is_file():
                (tmp_path / path.name).write_bytes(path.read_bytes())
        return tmp_path

    def load(self, folder: Path) -> None:
        TfliteModel("embedder", ModelsConfig(folder=str(folder)))

    def test_model_with_one_flipped_bit(self, copy: Path) -> None:
        content = bytearray((copy / "embedder.tflite").read_bytes())
        content[len(content) // 2] ^= 1
        (copy / "embedder.tflite").write_bytes(content)
        with pytest.raises(ModelError, match=r"embedder\.tflite: damaged"):
            self.load(copy)

    def test_missing_model(self, copy: Path) -> None:
        (copy / "embedder.tflite").unlink()
        with pytest.raises(ModelError, match=r"embedder\.tflite: cannot be read"):
            self.load(copy)

    def test_malformed_manifest(self, copy: Path) -> None:
        (copy / "manifest.json").write_text("{")
        with pytest.raises(ModelError, match=r"manifest\.json: malformed"):
            self.load(copy)

    def test_model_that_differs_from_its_contract(self, copy: Path) -> None:
        """A detector with the name of the embedder and the right sha256."""
        entries = json.loads((copy / "manifest.json").read_text())
        for key in ("file", "sha256"):
            entries["models"]["embedder"][key] = entries["models"]["detector-far"][key]
        (copy / "manifest.json").write_text(json.dumps(entries))
        with pytest.raises(ModelError, match="its input is not int8"):
            self.load(copy)

    def test_file_that_is_not_a_model(self, copy: Path) -> None:
        entries = json.loads((copy / "manifest.json").read_text())
        entries["models"]["embedder"]["sha256"] = hashlib.sha256(b"no model").hexdigest()
        (copy / "manifest.json").write_text(json.dumps(entries))
        (copy / "embedder.tflite").write_bytes(b"no model")
        with pytest.raises(ModelError, match="the runtime refuses it"):
            self.load(copy)

    def test_unknown_model_name(self) -> None:
        with pytest.raises(ModelError, match="no model 'nose'; the manifest has detector-far, detector-near"):
            TfliteModel("nose", ModelsConfig())

    def test_missing_accelerator(self, copy: Path) -> None:
        """The file is marked as compiled, and the library is not installed."""
        compiled(copy)
        with pytest.raises(ModelError, match=r"delegate 'edgetpu': libedgetpu\.so\.1 cannot be loaded"):
            TfliteModel("embedder", ModelsConfig(delegate="edgetpu", folder=str(copy)))

    def test_model_not_compiled_for_the_accelerator(self) -> None:
        with pytest.raises(ModelError, match="not compiled for the Edge TPU, all of it would run on the CPU"):
            TfliteModel("embedder", ModelsConfig(delegate="edgetpu"))

    def test_galleries_of_a_compiled_embedder(self, copy: Path) -> None:
        original = manifest.read_manifest(copy).models["embedder"].sha256
        compiled(copy)
        model = TfliteModel("embedder", ModelsConfig(folder=str(copy)))
        assert model.contract.sha256 != original
        assert Embedder(model).sha256 == original

    def test_no_output_while_loading(self, capfd: pytest.CaptureFixture[str]) -> None:
        TfliteModel("detector-near", ModelsConfig())
        assert capfd.readouterr() == ("", "")
