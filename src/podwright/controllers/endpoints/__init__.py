"""Which Pods stand behind a Service: EndpointSlices, the older Endpoints, and slices mirrored from those that users
write."""

from podwright.controllers.endpoints.legacy import EndpointsController
from podwright.controllers.endpoints.mirroring import EndpointSliceMirroringController
from podwright.controllers.endpoints.slices import EndpointSliceController

__all__ = ["EndpointSliceController", "EndpointSliceMirroringController", "EndpointsController"]
