"""The gate as pytest sees it: settings, collection, one run and its verdict."""
