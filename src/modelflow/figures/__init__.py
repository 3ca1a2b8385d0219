from modelflow.io.process import drop_missing_backend

drop_missing_backend()  # before any of these modules imports matplotlib
