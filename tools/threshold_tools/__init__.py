"""Desktop tools of Threshold: enrolment, calibration, evaluation, releases, monitoring and model quantization."""
