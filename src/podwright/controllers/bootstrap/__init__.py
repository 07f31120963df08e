"""Bootstrap tokens, with which new nodes join: those that expired go, and cluster-info is signed with those that may
sign."""

from podwright.controllers.bootstrap.cleaner import TokenCleaner
from podwright.controllers.bootstrap.signer import BootstrapSigner

__all__ = ["BootstrapSigner", "TokenCleaner"]
