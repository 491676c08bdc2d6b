"""What runs of built-in recipes took and stored, for the tests of `sppnet plan`."""

from __future__ import annotations

from jobs.plan.corpus import ImageSet
from jobs.plan.rates import Rates

PHOTOGRAPHS = {"images.train": ImageSet(482, 36_300, 180_000), "images.val": ImageSet(460, 36_600, 180_000)}
TINY = {"tiny.train": ImageSet(9130, 2000, 64 * 64), "tiny.val": ImageSet(2075, 2000, 64 * 64)}

# Bytes and worker seconds by step, as the commits have them: runs of `voc07` and `claims-detection` on 942 photographs
# of VOC2007, two workers on two cores of a server CPU with AVX-512, for a part of the time beside another load that
# made their seconds longer, up to twice. SVMs' rows had every bit; fine-tuning, sampled otherwise then, is left out.
# The code has become faster since, and maps smaller: `RATES_THEN` are those of the code that made these runs.
RATES_THEN = Rates(
    macs=1.2e11,
    read=6e8,
    encode=1.9e8,
    selective_search=7.0,
    scoring=3e10,
    scanning=1.8e9,
    widening=1.8e9,
    negatives=2.1e5,
    examples=3e8,
    compression=0.25,
)
VOC07 = {
    "images": (36_341_760, 1.234),
    "backbone": (2_947_360, 1.173),
    "windows": (11_564_975, 134.758),
    "maps": (3_907_701_249, 931.619),
    "svms-pool5-1s": (925_682_250, 115.612),
    "svms-pool5-5s": (1_082_446_713, 177.611),
    "regressors": (231_267_857, 50.176),
    "svms-fc7-5s": (38_632_224, 261.866),
    "pool5-1s": (1_545_008, 43.73),
    "pool5-5s": (3_484_557, 100.551),
    "fc7-5s": (134_661, 220.914),
    "metrics": (46_899, 0.451),
}
CLAIMS = {
    "images": (36_341_760, 1.234),
    "squeezenet": (2_947_360, 1.173),
    "tiny": (42_004_480, 4.9),
    "ss": (11_564_975, 134.758),
    "eb": (11_609_454, 230.6),
    "both": (23_174_264, 356.6),
    "few": (595_388, 126.7),
    "recall": (311_891, 0.8),
    "maps": (3_907_701_249, 931.619),
    "zf5": (9_280_113, 155.7),
    "svms-pool5-1s": (925_682_250, 115.612),
    "svms-pool5-5s": (1_082_446_713, 177.611),
    "boxes-1s": (218_225_969, 43.7),
    "boxes-5s": (231_267_857, 50.176),
    "svms-few": (350_049_549, 72.6),
    "svms-eb": (1_013_720_292, 174.3),
    "svms-both": (1_127_185_103, 197.8),
    "svms-rcnn": (358_229_897, 765.3),
    "svms-fc7-5s": (38_632_224, 261.866),
    "maps-zf5": (345_478_671, 185.0),  # its quickest quarter of shards; 245.1 with the rest, beside another load
    "svms-fc6-1s": (32_485_196, 222.2),
    "svms-fc6-5s": (31_015_564, 313.3),
    "svms-fc7-1s": (42_844_708, 234.6),
    "pool5-1s": (1_545_008, 43.73),
    "pool5-5s": (1_444_366, 78.2),
    "ft-fc7-5s": (134_661, 220.914),
    "few-spp": (500_237, 4.1),
    "few-rcnn": (444_377, 596.6),
    "train-eb-test-eb": (1_756_616, 43.5),
    "train-both-test-eb": (1_675_350, 35.1),
    "train-both-test-both": (2_001_397, 59.1),
    "svms-zf5-pool5-1s": (104_860_924, 25.5),
    "svms-zf5-pool5-5s": (124_591_800, 26.7),
    "svms-zf5-fc6-1s": (17_676_823, 26.8),
    "svms-zf5-fc6-5s": (18_348_974, 29.9),
    "svms-zf5-ft-fc7-1s": (26_721_073, 27.7),
    "svms-zf5-ft-fc7-5s": (25_709_669, 29.8),
    "boxes-zf5-1s": (17_275_346, 8.1),
    "boxes-zf5-5s": (18_156_256, 8.7),
    "zf5-pool5-1s": (2_249_345, 7.3),
    "zf5-pool5-5s": (2_249_566, 10.8),
}
# How many windows SVMs on fc6 and fc7 take for objects is a matter of the network: detections come to 2 to 100 an image
# and category, which the plan can't know. It is a megabyte or two; their seconds don't depend on it.
CLAIMS_SECONDS = {
    "ft-fc6-1s": 177.1,
    "ft-fc6-5s": 200.0,
    "ft-fc7-1s": 170.5,
    "svms-zf5-ft-fc6-1s": 24.0,
    "svms-zf5-ft-fc6-5s": 43.5,
    "zf5-fc6-1s": 17.1,
    "zf5-fc6-5s": 20.1,
    "zf5-ft-fc6-1s": 17.2,
    "zf5-ft-fc6-5s": 18.0,
}
