#!/usr/bin/env bash
# Records firefox.har anew: what the network monitor of a real Firefox exports of page.py's page.
#
#   tests/captures/firefox.sh        with firefox-esr
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
started=()
trap 'kill "${started[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/profile" "$work/out"
cat >"$work/profile/user.js" <<JS
user_pref("devtools.netmonitor.har.enableAutoExportToFile", true);
user_pref("devtools.netmonitor.har.defaultLogDir", "$work/out");
user_pref("devtools.netmonitor.har.defaultFileName", "firefox");
user_pref("devtools.netmonitor.har.forceExport", true);
user_pref("devtools.netmonitor.har.pageLoadedTimeout", 6000);
user_pref("devtools.toolbox.selectedTool", "netmonitor");
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("app.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
JS
python3 "$here/page.py" &
started+=($!)
# The export follows the loading of a page: the second one here, since the monitor opens during the first.
HOME=$work timeout 90 firefox-esr --headless --no-remote --profile "$work/profile" --devtools http://127.0.0.1:18090/ >"$work/log" 2>&1 &
started+=($!)
until [[ -s $work/out/firefox.har ]]; do
  kill -0 "${started[1]}" 2>/dev/null || { echo "firefox.sh: Firefox exported nothing" >&2; exit 3; }
  sleep 1
done
sleep 2
cp "$work/out/firefox.har" "$here/firefox.har"
