"""The data sets that are known by name: their files, classes, addresses, and checksums as they were published.

The SHA-256 of MNIST's uncompressed files are those of the TensorFlow authors' mirror, and of many projects since.
torchvision (datasets/mnist.py, prototype/datasets) and TensorFlow Datasets (url_checksums) have those of KMNIST's .gz
files and of EMNIST's and CIFAR-10's archives; Deeplearning4j (EmnistFetcher) has the MD5 of EMNIST's files within;
torchvision-ruby has the SHA-256 of CIFAR-10's.
"""

import math
import string
from dataclasses import dataclass
from pathlib import Path

RECORD = (3, 32, 32)  # an image of CIFAR's, after its label


@dataclass(frozen=True)
class KnownFile:
    """A file by its `role`, such as "train-images": its uncompressed name and its sizes, as its header gives them.

    `sha256` is of the uncompressed file, since compressed copies differ from mirror to mirror. Where only that of the
    .gz was published, `packed` is it, with the method before it ("md5:…"), and the .gz is kept. A file of CIFAR's has
    no header: its sizes are records x bytes.
    """

    role: str
    name: str
    sizes: tuple[int, ...]
    sha256: str = ""
    packed: str = ""
    has_header: bool = True

    @property
    def stored(self) -> str:
        """What it is called where fetched files are kept."""
        return f"{self.name}.gz" if self.packed else self.name

    @property
    def size(self) -> int:
        """How many bytes its values have."""
        return math.prod(self.sizes)


@dataclass(frozen=True)
class Archive:
    """A .zip or .tar.gz in which the files lie, in one folder of it, as they are stored."""

    name: str
    size: int
    sha256: str
    folder: str


@dataclass(frozen=True)
class KnownSet:
    """A data set by its files, below each of `addresses` as .gz, or in the `archive` that lies there.

    `labels_from` is the label of the first class. Images that are `transposed` lie on their side in the files.
    """

    name: str
    class_names: tuple[str, ...]
    files: tuple[KnownFile, ...]
    addresses: tuple[str, ...]
    debian_package: str = ""  # where Debian has one
    debian_folder: Path = Path()
    archive: Archive | None = None
    labels_from: int = 0
    transposed: bool = False

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Channels x height x width, upright."""
        images = next((file for file in self.files if file.role == "train-images"), None)
        if images is None:
            return RECORD
        sides = images.sizes[1:]
        return (1, *(reversed(sides) if self.transposed else sides))


FASHION_MNIST = KnownSet(
    name="fashion-mnist",
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    files=(
        KnownFile(
            "train-images",
            "train-images-idx3-ubyte",
            (60000, 28, 28),
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        KnownFile(
            "train-labels",
            "train-labels-idx1-ubyte",
            (60000,),
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        KnownFile(
            "test-images",
            "t10k-images-idx3-ubyte",
            (10000, 28, 28),
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        KnownFile(
            "test-labels",
            "t10k-labels-idx1-ubyte",
            (10000,),
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    addresses=(
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
    ),
    debian_package="dataset-fashion-mnist",
    debian_folder=Path("/usr/share/datasets/fashion-mnist"),
)

MNIST = KnownSet(
    name="mnist",
    class_names=tuple("0123456789"),
    files=(
        KnownFile(
            "train-images",
            "train-images-idx3-ubyte",
            (60000, 28, 28),
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        KnownFile(
            "train-labels",
            "train-labels-idx1-ubyte",
            (60000,),
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        KnownFile(
            "test-images",
            "t10k-images-idx3-ubyte",
            (10000, 28, 28),
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        KnownFile(
            "test-labels",
            "t10k-labels-idx1-ubyte",
            (10000,),
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    addresses=(
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "https://ossci-datasets.s3.amazonaws.com/mnist",
    ),
)

KMNIST = KnownSet(  # Clanuwat et al. (2018), Deep Learning for Classical Japanese Literature, CC BY-SA 4.0
    name="kmnist",
    class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    files=(
        KnownFile(
            "train-images",
            "train-images-idx3-ubyte",
            (60000, 28, 28),
            packed="sha256:51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        ),
        KnownFile(
            "train-labels",
            "train-labels-idx1-ubyte",
            (60000,),
            packed="sha256:e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        ),
        KnownFile(
            "test-images",
            "t10k-images-idx3-ubyte",
            (10000, 28, 28),
            packed="sha256:edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        ),
        KnownFile(
            "test-labels",
            "t10k-labels-idx1-ubyte",
            (10000,),
            packed="sha256:20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    ),
    addresses=("https://codh.rois.ac.jp/kmnist/dataset/kmnist", "http://codh.rois.ac.jp/kmnist/dataset/kmnist"),
)

EMNIST_LETTERS = KnownSet(  # Cohen et al. (2017), EMNIST: an extension of MNIST to handwritten letters
    name="emnist-letters",
    class_names=tuple(string.ascii_lowercase),  # capitals are of the same classes
    files=(
        KnownFile(
            "train-images",
            "emnist-letters-train-images-idx3-ubyte",
            (124800, 28, 28),
            packed="md5:8795078f199c478165fe18db82625747",
        ),
        KnownFile(
            "train-labels",
            "emnist-letters-train-labels-idx1-ubyte",
            (124800,),
            packed="md5:c16de4f1848ddcdddd39ab65d2a7be52",
        ),
        KnownFile(
            "test-images",
            "emnist-letters-test-images-idx3-ubyte",
            (20800, 28, 28),
            packed="md5:382093a19703f68edac6d01b8dfdfcad",
        ),
        KnownFile(
            "test-labels",
            "emnist-letters-test-labels-idx1-ubyte",
            (20800,),
            packed="md5:d4108920cd86601ec7689a97f2de7f59",
        ),
    ),
    addresses=("https://biometrics.nist.gov/cs_links/EMNIST",),
    archive=Archive(
        "gzip.zip", 561_753_746, "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e", "gzip"
    ),
    labels_from=1,
    transposed=True,
)


def _batch(role: str, name: str, sha256: str) -> KnownFile:
    return KnownFile(role, name, (10000, 1 + math.prod(RECORD)), sha256, has_header=False)


CIFAR_10 = KnownSet(  # Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images
    name="cifar-10",
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    files=(
        _batch("train-1", "data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        _batch("train-2", "data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        _batch("train-3", "data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        _batch("train-4", "data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        _batch("train-5", "data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        _batch("test", "test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    ),
    addresses=("https://www.cs.toronto.edu/~kriz", "https://cave.cs.toronto.edu/kriz"),
    archive=Archive(
        "cifar-10-binary.tar.gz",
        170_052_171,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        "cifar-10-batches-bin",
    ),
)

KNOWN_SETS = {known.name: known for known in (FASHION_MNIST, MNIST, KMNIST, EMNIST_LETTERS, CIFAR_10)}
