"""Human annotation of judged answers: sampling, files, and a local coding page."""
