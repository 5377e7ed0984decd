"""Tables 2 to 6 of the paper on one's own data: trainings under equal conditions, their figures, and a report."""
