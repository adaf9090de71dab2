{{/* What the replicas and the commands have in common. */}}
{{- define "registry.pod" -}}
serviceAccountName: {{ include "registry.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false # a service named registry would set REGISTRY_… variables
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: config
    configMap: {name: {{ include "registry.name" . }}}
  - name: tmp
    emptyDir: {}
  {{- if .Values.volume.enabled }}
  - name: data
    persistentVolumeClaim: {claimName: {{ include "registry.claim" . }}}
  {{- end }}
  {{- with .Values.tls.secret }}
  - name: tls
    secret: {secretName: {{ . }}}
  {{- end }}
  {{- range $name, $source := .Values.files }}
  - name: files-{{ $name }}
    {{- if hasKey $source "secret" }}
    secret: {secretName: {{ $source.secret }}}
    {{- else }}
    configMap: {name: {{ $source.configMap }}}
    {{- end }}
  {{- end }}
{{- end }}

{{- define "registry.container" -}}
name: registry
image: {{ include "registry.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- with .Values.env }}
env:
  {{- range $name, $value := . }}
  - name: {{ $name }}
    {{- if kindIs "map" $value }}
    valueFrom: {secretKeyRef: {name: {{ $value.secret }}, key: {{ $value.key }}}}
    {{- else }}
    value: {{ $value | quote }}
    {{- end }}
  {{- end }}
{{- end }}
{{- with .Values.resources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - {name: config, mountPath: /etc/distribution, readOnly: true}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.volume.enabled }}
  - {name: data, mountPath: /var/lib/registry}
  {{- end }}
  {{- if .Values.tls.secret }}
  - {name: tls, mountPath: /etc/registry/tls, readOnly: true}
  {{- end }}
  {{- range $name, $_ := .Values.files }}
  - {name: files-{{ $name }}, mountPath: /etc/registry/{{ $name }}, readOnly: true}
  {{- end }}
{{- end }}
