"""PersistentVolumes: binding claims to them, making and removing local ones, attaching, growing and protecting them."""

from podwright.controllers.volumes.attach_detach import AttachDetachController
from podwright.controllers.volumes.binder import PersistentVolumeBinder
from podwright.controllers.volumes.expansion import VolumeExpansionController
from podwright.controllers.volumes.protection import (
    AttributesClassProtectionController,
    ClaimProtectionController,
    VolumeProtectionController,
)
from podwright.controllers.volumes.provisioner import LocalPathProvisioner

__all__ = [
    "AttachDetachController", "AttributesClassProtectionController", "ClaimProtectionController",
    "LocalPathProvisioner", "PersistentVolumeBinder", "VolumeExpansionController", "VolumeProtectionController",
]
