{{- define "hookmux.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "hookmux.allLabels" -}}
{{ include "hookmux.labels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "hookmux.name" -}}
{{ printf "%s" .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- /* hookmux.yaml: the value config, with what follows from other values. */}}
{{- define "hookmux.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config "listen" (ternary "127.0.0.1:9000" "0.0.0.0:9000" .Values.emqx.enabled) }}
{{- if .Values.admin.tokenSecret }}
{{- $_ := set $config "admin" (dict "listen" "127.0.0.1:9080" "token" "${file:/etc/hookmux-admin/token}") }}
{{- end }}
{{- with .Values.standalone.tls }}
{{- if and .secret (not $.Values.emqx.enabled) }}
{{- $tls := dict "cert" "/etc/hookmux-tls/tls.crt" "key" "/etc/hookmux-tls/tls.key" }}
{{- if .clients }}{{ $_ := set $tls "client_ca" "/etc/hookmux-tls/ca.crt" }}{{ end }}
{{- if .names }}{{ $_ := set $tls "client_names" .names }}{{ end }}
{{- $_ := set $config "tls" $tls }}
{{- end }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- define "hookmux.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "hookmux.pluginsContainer" -}}
- name: hookmux-plugins
  image: {{ .Values.plugins.image | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: {{ toJson .Values.plugins.command }}
  volumeMounts:
    - {name: plugins, mountPath: /target}
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 64Mi}
  securityContext: {{- include "hookmux.securityContext" . | nindent 4 }}
{{- end }}

{{- define "hookmux.container" -}}
- name: hookmux
  image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if .Values.emqx.enabled }}
  restartPolicy: Always # a sidecar: EMQX starts once the startupProbe has succeeded
  {{- else }}
  ports:
    - {name: exhook, containerPort: 9000}
  {{- end }}
  startupProbe:
    exec: {command: [/usr/bin/hookmux, ready]}
    periodSeconds: 1
    timeoutSeconds: 5
    failureThreshold: 120
  readinessProbe:
    exec: {command: [/usr/bin/hookmux, ready]}
    periodSeconds: 10
    timeoutSeconds: 5
  livenessProbe:
    exec: {command: [/usr/bin/hookmux, status]}
    periodSeconds: 10
    timeoutSeconds: 5
  volumeMounts:
    - {name: config, mountPath: /etc/hookmux, readOnly: true}
    - {name: tmp, mountPath: /tmp}
    - {name: state, mountPath: /var/lib}
    {{- if .Values.secret }}
    - {name: secrets, mountPath: /etc/hookmux-secrets, readOnly: true}
    {{- end }}
    {{- if .Values.plugins.image }}
    - {name: plugins, mountPath: /plugins, readOnly: true}
    {{- end }}
    {{- if .Values.admin.tokenSecret }}
    - {name: admin, mountPath: /etc/hookmux-admin, readOnly: true}
    {{- end }}
    {{- if and .Values.standalone.tls.secret (not .Values.emqx.enabled) }}
    - {name: tls, mountPath: /etc/hookmux-tls, readOnly: true}
    {{- end }}
  resources: {{- toYaml .Values.resources | nindent 4 }}
  securityContext: {{- include "hookmux.securityContext" . | nindent 4 }}
{{- end }}

{{- define "hookmux.volumes" -}}
- name: config
  configMap: {name: {{ include "hookmux.name" . }}-hookmux}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
- name: state
  emptyDir: {sizeLimit: 16Mi}
{{- if .Values.secret }}
- name: secrets
  secret: {secretName: {{ .Values.secret | quote }}, defaultMode: 0444}
{{- end }}
{{- if .Values.plugins.image }}
- name: plugins
  emptyDir: {sizeLimit: 256Mi}
{{- end }}
{{- if .Values.admin.tokenSecret }}
- name: admin
  secret:
    secretName: {{ .Values.admin.tokenSecret | quote }}
    defaultMode: 0444
    items: [{key: {{ .Values.admin.tokenKey | quote }}, path: token}]
{{- end }}
{{- if and .Values.standalone.tls.secret (not .Values.emqx.enabled) }}
- name: tls
  secret: {secretName: {{ .Values.standalone.tls.secret | quote }}, defaultMode: 0444}
{{- end }}
{{- end }}
