"""Certificate signing requests: approving those of kubelets, signing what is approved, clearing away what is old."""

from podwright.controllers.certificates.approver import CertificateApprover
from podwright.controllers.certificates.cleaner import CertificateCleaner
from podwright.controllers.certificates.signer import CertificateSigner

__all__ = ["CertificateApprover", "CertificateCleaner", "CertificateSigner"]
