"""What a processor may ask for besides its data, by type: ``ctx.services[Monitoring]`` (O2's ServiceRegistry).

One module per service; users add their own with `service`. Knows contexts, no graph and no runner.
"""

from o2dask.services.callbacks import CallbackId, CallbackService
from o2dask.services.conditions import Conditions
from o2dask.services.control import ControlService, QuitBook, QuitRequest
from o2dask.services.device import DeviceContext
from o2dask.services.histograms import Axis, Histograms
from o2dask.services.monitoring import Metric, Monitoring
from o2dask.services.parallel import ParallelContext
from o2dask.services.pool import ThreadPool
from o2dask.services.registry import ServiceRegistry, ServiceSpec, list_services, register_service, service
from o2dask.services.scratch import ScratchFiles

__all__ = [
    "Axis",
    "CallbackId",
    "CallbackService",
    "Conditions",
    "ControlService",
    "DeviceContext",
    "Histograms",
    "Metric",
    "Monitoring",
    "ParallelContext",
    "QuitBook",
    "QuitRequest",
    "ScratchFiles",
    "ServiceRegistry",
    "ServiceSpec",
    "ThreadPool",
    "list_services",
    "register_service",
    "service",
]
