"""Clustering of made-up vectors; the picture sheet and the projector's files with real photos."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support.rendered_portraits import EMBEDDER, Photo, put, two_people
from support.tool_process import refusal_of
from threshold_tools.cluster.cli import main
from threshold_tools.cluster.clustering import cluster_photos, density, kmeans, score
from threshold_tools.cluster.projector import photo_px
from threshold_tools.embeddings import LabelledEmbeddings, save_embeddings

from edge.core.records import FloatArray


def crowd(counts: list[int], noise: float, seed: int = 1, size: int = 24) -> tuple[FloatArray, NDArray[np.intp]]:
    """`counts` unit vectors of each person, around a centre of their own."""
    rng = np.random.default_rng(seed)
    own = np.repeat(np.arange(len(counts)), counts)
    centres = rng.normal(size=(len(counts), size))
    vectors = centres[own] / np.linalg.norm(centres[own], axis=1, keepdims=True) + rng.normal(
        0, noise, (len(own), size)
    )
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), own


def stored(path: Path, counts: list[int], noise: float = 0.02, *, embedder: str = EMBEDDER, flat: bool = False) -> Path:
    """Write vectors in the format of threshold embed; one more photo has no face."""
    vectors, own = crowd(counts, noise)
    paths = [f"{number}.jpg" if flat else f"p{who}/{number}.jpg" for number, who in enumerate(own.tolist())]
    embedding = np.concatenate([vectors, np.zeros_like(vectors[:1])])
    found = np.append(np.ones(len(vectors), bool), False)
    save_embeddings(
        path, LabelledEmbeddings(embedding, found, [*paths, "wall.jpg" if flat else "p0/wall.jpg"], embedder)
    )
    return path


def same_groups(one: NDArray[np.intp], two: NDArray[np.intp]) -> bool:
    """Whether two labellings differ only in their numbers."""
    pairs = set(zip(one.tolist(), two.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(two.tolist()))


class TestDensity:
    @pytest.mark.parametrize("near_sq", [0.1, 0.5, 0.9, 1.3])
    def test_clusters_are_the_chains_of_neighbours(self, near_sq: float) -> None:
        """Compared with repeatedly joining neighbours, for groups of two photos or more."""
        vectors = crowd([1, 9, 4, 1, 20, 2, 3, 14], 0.13)[0]
        near = np.sum((vectors[:, None].astype(np.float64) - vectors[None]) ** 2, axis=2) <= near_sq
        expected = np.arange(len(vectors))
        for _ in vectors:
            expected = np.where(near, expected, len(vectors)).min(axis=1)
        assert same_groups(density(vectors, near_sq, 2), expected)

    def test_people_who_are_apart_are_told_apart(self) -> None:
        vectors, own = crowd([1, 9, 4, 1, 20], 0.02)
        assert same_groups(density(vectors, 0.3, 2), own)

    def test_a_chain_of_near_photos_is_one_person(self) -> None:
        angles = np.arange(0, 3, 0.1)
        vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        assert len(set(density(vectors, 0.011, 2).tolist())) == 1
        assert len(set(density(vectors, 0.009, 2).tolist())) == len(angles)

    def test_photo_between_two_people_does_not_merge_them(self) -> None:
        """It is near one photo of each person, and not a core."""
        angles = np.array([0, 0.01, 0.02, 0.03, 0.101, 0.2, 0.298, 0.37, 0.38, 0.39])
        vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        labels = density(vectors, 0.0102, 4).tolist()
        assert (labels[:5], labels[6:]) == ([0] * 5, [1] * 4)
        assert labels[5] in (0, 1)

    def test_equal_photos_are_one_person_however_strict(self) -> None:
        assert density(np.repeat(crowd([1], 0)[0], 5, axis=0), 1e-6, 2).tolist() == [0] * 5


class TestKmeans:
    def test_people_who_are_apart_are_told_apart(self) -> None:
        vectors, own = crowd([8, 9, 4, 7, 20], 0.02)
        assert same_groups(kmeans(vectors, 5, 0), own)

    def test_every_photo_is_in_the_nearest_cluster(self) -> None:
        vectors = crowd([30] * 5, 0.25)[0]
        labels = kmeans(vectors, 5, 0)
        means = np.stack([vectors[labels == number].mean(axis=0) for number in range(5)])
        gaps_sq = np.sum((vectors[:, None] - means[None]) ** 2, axis=2)
        assert labels.tolist() == gaps_sq.argmin(axis=1).tolist()

    @pytest.mark.parametrize("k", [1, 2, 12, 31])
    def test_no_cluster_is_empty(self, k: int) -> None:
        """Equal photos are never in two clusters."""
        vectors = np.concatenate([np.repeat(crowd([1], 0)[0], 20, axis=0), crowd([11], 0.5)[0]])
        assert sorted(set(kmeans(vectors, k, 3).tolist())) == list(range(min(k, 12)))

    def test_a_seed_gives_the_same_clusters_again(self) -> None:
        vectors = crowd([9] * 8, 0.4)[0]
        assert kmeans(vectors, 8, 5).tolist() == kmeans(vectors, 8, 5).tolist()
        assert kmeans(vectors, 8, 5).tolist() != kmeans(vectors, 8, 6).tolist()


class TestScore:
    def test_it_is_what_going_through_all_pairs_says(self) -> None:
        rng = np.random.default_rng(2)
        labels, people = rng.integers(0, 9, 60), rng.integers(0, 7, 60) * 2
        labels[-1] = 9  # alone
        pairs = list(itertools.combinations(range(60), 2))
        together = np.array([labels[a] == labels[b] for a, b in pairs])
        mated = np.array([people[a] == people[b] for a, b in pairs])
        most = [np.bincount(people[labels == number]).max() for number in range(10)]
        got = score(labels, [str(who) for who in people])
        assert got.people == len(set(people.tolist()))
        assert got.purity == pytest.approx(sum(most) / 60)
        assert got.purity_in_company == pytest.approx((sum(most) - 1) / 59)
        assert got.precision == pytest.approx((together & mated).sum() / together.sum())
        assert got.recall == pytest.approx((together & mated).sum() / mated.sum())
        assert got.f == pytest.approx(2 / (1 / got.precision + 1 / got.recall))

    def test_scores_of_extreme_clusterings(self) -> None:
        people = [str(who) for who in range(4) for _ in range(5)]
        one, alone = score(np.zeros(20, np.intp), people), score(np.arange(20), people)
        assert (one.purity, one.recall) == (0.25, 1)
        assert (alone.purity, alone.purity_in_company, alone.precision, alone.recall, alone.f) == (1, None, 1, 0, 0)


class TestWhole:
    def test_largest_cluster_first_and_ungrouped_separate(self, tmp_path: Path) -> None:
        report = cluster_photos(stored(tmp_path / "x.npz", [3, 1, 5, 1])).report
        assert [len(each) for each in report.clusters] == [5, 3]
        assert all(path.startswith("p2/") for path in report.clusters[0])
        assert report.alone == ["p1/3.jpg", "p3/9.jpg"]
        assert (report.photos, report.without_face) == (11, ["p0/wall.jpg"])
        assert report.score is not None
        assert (report.score.people, report.score.purity, report.score.f) == (4, 1, 1)

    def test_kmeans_takes_as_many_clusters_as_density_finds(self, tmp_path: Path) -> None:
        report = cluster_photos(stored(tmp_path / "x.npz", [3, 1, 5, 1]), method="kmeans").report
        assert report.k == 4
        assert report.score is not None
        assert report.score.f == 1

    def test_photos_in_no_folders_are_not_scored(self, tmp_path: Path) -> None:
        report = cluster_photos(stored(tmp_path / "x.npz", [3, 1, 5], flat=True)).report
        assert report.score is None
        assert [len(each) for each in report.clusters] == [5, 3]

    def test_the_table_tells_clusters_and_scores(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main([str(stored(tmp_path / "x.npz", [3, 1, 5]))])
        told = capsys.readouterr().out
        for word in (
            "8 photos of about 2 people, 1 photo ungrouped.",
            "1 photo has no face",
            "No group mixes people",
            "100.00 %",
            "p2 5",
        ):
            assert word in told

    def test_photos_become_a_sheet_and_projector_files(
        self, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Real faces: two people, three photos."""
        people = two_people(tmp_path / "people", photo)
        put(people / "biden" / "wall.png", np.full((100, 100, 3), 90, np.uint8))
        html, out = tmp_path / "o.html", tmp_path / "projector"
        main([str(people), "--json", "--html", str(html), "--projector", str(out)])
        report = json.loads(capsys.readouterr().out)
        assert report["clusters"] == [["obama/1.png", "obama/2.png"]]
        assert (report["alone"], report["without_face"]) == (["biden/1.png"], ["biden/wall.png"])
        assert html.read_text().count("data:image/jpeg") == 3
        for path in (
            html,
            out,
            out / "vectors.tsv",
            out / "metadata.tsv",
            out / "sprite.png",
            out / "projector_config.pbtxt",
        ):
            assert path.stat().st_mode & 0o077 == 0, path
        assert "http" not in html.read_text().replace("http-equiv", "")
        vectors = np.loadtxt(out / "vectors.tsv", delimiter="\t")
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-4)
        assert (out / "metadata.tsv").read_text().splitlines() == [
            "photo\tperson\tcluster",
            "biden/1.png\tbiden\talone",
            "obama/1.png\tobama\t1",
            "obama/2.png\tobama\t1",
        ]
        sprite = cv2.imread(str(out / "sprite.png"))
        assert sprite is not None
        assert sprite.shape == (128, 128, 3)
        assert [bool(cell.std() > 5) for cell in (sprite[:64, :64], sprite[:64, 64:], sprite[64:, :64])] == [True] * 3
        assert sprite[64:, 64:].std() == 0  # there is no fourth photo
        settings = (out / "projector_config.pbtxt").read_text()
        assert all(name in settings for name in ("vectors.tsv", "metadata.tsv", "sprite.png", "image_dim: 64"))

    def test_names_replace_missing_pictures(self, tmp_path: Path) -> None:
        html, out = tmp_path / "o.html", tmp_path / "projector"
        main([str(stored(tmp_path / "x.npz", [3, 1, 5])), "--html", str(html), "--projector", str(out)])
        assert "p1/3.jpg" in html.read_text()
        assert "<img" not in html.read_text()
        assert not (out / "sprite.png").exists()
        assert "sprite" not in (out / "projector_config.pbtxt").read_text()

    def test_other_person_in_a_group_is_marked(self, tmp_path: Path) -> None:
        vectors = crowd([30], 0.02)[0]
        paths = [f"a/{number:02}.jpg" for number in range(29)] + ["b/<0>.jpg"]
        save_embeddings(tmp_path / "x.npz", LabelledEmbeddings(vectors, np.ones(30, bool), paths, EMBEDDER))
        main([str(tmp_path / "x.npz"), "--html", str(tmp_path / "o.html")])
        page = (tmp_path / "o.html").read_text()
        assert '<ul class="faces">\n<li class="other" title="b/&lt;0&gt;.jpg">' in page
        assert "1 group mixes people: check 1, then the labels." in page

    @pytest.mark.parametrize("count", [1, 2, 6922, 20_000, 1_000_000])
    def test_sprite_fits_the_projector(self, count: int) -> None:
        side = int(np.ceil(np.sqrt(count)))
        assert 1 <= photo_px(count) <= 64
        assert side * photo_px(count) <= 8192

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["nowhere"], "nowhere: cannot be read"),
            (["x.npz", "--html", "no/o.html"], "no such folder"),
            (["x.npz", "--projector", "x.npz"], "is a file"),
            (["x.npz", "--photos", "no"], "no: no such folder"),
            (["x.npz", "--method", "kmeans", "--k", "5"], "only 4 photos with a face"),
            (["other.npz"], "another embedder (0000"),
        ],
    )
    def test_bad_input_is_one_line_and_code_two(self, tmp_path: Path, words: list[str], told: str) -> None:
        stored(tmp_path / "x.npz", [3, 1])
        stored(tmp_path / "other.npz", [3, 1], embedder="0" * 64)
        assert told in refusal_of("cluster.py", words, tmp_path)

    @pytest.mark.parametrize(
        "words", [["--k", "3"], ["--near-sq", "0"], ["--near-sq", "4.1"], ["--min-samples", "0"], ["--seed", "-1"]]
    )
    def test_what_makes_no_sense_is_refused(self, tmp_path: Path, words: list[str]) -> None:
        with pytest.raises(SystemExit, match="2"):
            main([str(stored(tmp_path / "x.npz", [3, 1])), *words])
