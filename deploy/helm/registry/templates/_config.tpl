{{/* The configuration: values.config, and what the chart decides. */}}
{{- define "registry.config" -}}
{{- $fixed := dict "version" "0.1" "http" (dict
      "addr" ":5000"
      "draintimeout" (printf "%ds" (int .Values.termination.drainSeconds))
      "debug" (dict "addr" ":5001" "prometheus" (dict "enabled" true "path" "/metrics"))) -}}
{{- if .Values.tls.secret -}}
{{- $_ := set $fixed.http "tls" (dict "certificate" "/etc/registry/tls/tls.crt" "key" "/etc/registry/tls/tls.key") -}}
{{- end -}}
{{- if .Values.volume.enabled -}}
{{- $_ := set $fixed "storage" (dict "filesystem" (dict "rootdirectory" "/var/lib/registry")) -}}
{{- end -}}
{{- $headers := dict "http" (dict "headers" (dict "X-Content-Type-Options" (list "nosniff"))) -}}
{{- $config := mergeOverwrite $headers (deepCopy .Values.config) $fixed -}}
{{- include "registry.check" (dict "config" $config "values" .Values) -}}
{{- toYaml $config -}}
{{- end }}

{{/* What no schema can say: the storage has one driver, which all replicas share. */}}
{{- define "registry.check" -}}
{{- $drivers := omit .config.storage "cache" "delete" "maintenance" "redirect" "tag" | keys | sortAlpha -}}
{{- if ne (len $drivers) 1 -}}
{{- fail (printf "storage: exactly one driver is needed, there are %d: %s. Set config.storage with volume.enabled=false, or volume.enabled=true" (len $drivers) (join ", " $drivers)) -}}
{{- end -}}
{{- if gt (int .values.replicas) 1 -}}
{{- if and (has (first $drivers) (list "filesystem" "inmemory")) (not (and .values.volume.enabled (has "ReadWriteMany" .values.volume.accessModes))) -}}
{{- fail "replicas: several need an object store, or a volume with the access mode ReadWriteMany" -}}
{{- end -}}
{{- if not (hasKey .values.env "REGISTRY_HTTP_SECRET") -}}
{{- fail "env.REGISTRY_HTTP_SECRET: several replicas need the same http.secret, from a Secret: {secret: NAME, key: KEY}" -}}
{{- end -}}
{{- end -}}
{{- end }}
