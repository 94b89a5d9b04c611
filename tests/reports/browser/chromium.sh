#!/usr/bin/env bash
# Installs Chromium for the tests of reports in a browser, where this is Debian or Ubuntu and the user may.
# Where it does not, those tests skip and say so.
command -v chromium chromium-browser google-chrome >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  timeout 60 apt-get -qq update
  timeout 180 apt-get -qq install -y --no-install-recommends chromium >/dev/null
fi
command -v chromium >/dev/null || echo "no Chromium: the tests of reports in a browser will be skipped"
exit 0
