"""The evaluation protocols of PASCAL VOC and ILSVRC DET."""
