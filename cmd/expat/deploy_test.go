package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
)

// deployed is where the files for operators lie.
const deployed = "../../deploy"

// The parts of manifests that are looked at.
type (
	manifest struct {
		Kind     string
		Metadata struct{ Name string }
		Data     map[string]string
		Spec     struct {
			Selector yaml.Node
			Replicas int
			Template struct {
				Metadata struct{ Labels, Annotations map[string]string }
				Spec     pod
			}
			Ports []struct {
				Port       int
				TargetPort string `yaml:"targetPort"`
			}
		}
	}
	pod struct {
		AutomountServiceAccountToken  *bool `yaml:"automountServiceAccountToken"`
		HostNetwork                   bool  `yaml:"hostNetwork"`
		HostPID                       bool  `yaml:"hostPID"`
		TerminationGracePeriodSeconds int   `yaml:"terminationGracePeriodSeconds"`
		SecurityContext               struct {
			RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
			RunAsUser      int                   `yaml:"runAsUser"`
			SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		InitContainers []container `yaml:"initContainers"`
		Containers     []container
		Volumes        []struct{ Name string }
	}
	mount struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	}
	probe struct {
		HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
	}
	container struct {
		Name  string
		Args  []string
		Ports []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		Resources       struct{ Requests, Limits map[string]string }
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			Privileged               bool
			ReadOnlyRootFilesystem   bool `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop, Add []string }
		} `yaml:"securityContext"`
		StartupProbe   probe   `yaml:"startupProbe"`
		LivenessProbe  probe   `yaml:"livenessProbe"`
		ReadinessProbe probe   `yaml:"readinessProbe"`
		VolumeMounts   []mount `yaml:"volumeMounts"`
	}
)

func manifests(t *testing.T, name string) (all []manifest) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deployed, "kubernetes", name))
	require.NoError(t, err)
	d := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var raw struct {
			manifest   `yaml:",inline"`
			APIVersion string `yaml:"apiVersion"`
		}
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		require.NotEmpty(t, raw.APIVersion)
		require.NotEmpty(t, raw.Metadata.Name)
		all = append(all, raw.manifest)
	}
}

func TestManifests(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sidecar.yaml", "verifier.yaml"} {
		ports := make(map[string]int)
		services := 0
		for _, m := range manifests(t, name) {
			switch m.Kind {
			case "Deployment":
				hardenedPod(t, m.Spec.Template.Spec, ports)
				require.GreaterOrEqual(t, m.Spec.Replicas, 2)
			case "Service":
				services++
				for _, p := range m.Spec.Ports {
					require.Contains(t, ports, p.TargetPort, "a port of a container")
				}
			}
		}
		require.Equal(t, 1, services, name)
	}
}

// hardenedPod demands what the restricted profile of Kubernetes does, and more.
func hardenedPod(t *testing.T, p pod, ports map[string]int) {
	t.Helper()
	require.NotNil(t, p.AutomountServiceAccountToken)
	require.False(t, *p.AutomountServiceAccountToken || p.HostNetwork || p.HostPID)
	require.True(t, p.SecurityContext.RunAsNonRoot)
	require.Positive(t, p.SecurityContext.RunAsUser)
	require.Equal(t, "RuntimeDefault", p.SecurityContext.SeccompProfile.Type)
	var volumes []string
	for _, v := range p.Volumes {
		volumes = append(volumes, v.Name)
	}
	for _, c := range append(p.InitContainers, p.Containers...) {
		s := c.SecurityContext
		require.NotNil(t, s.AllowPrivilegeEscalation, c.Name)
		require.False(t, *s.AllowPrivilegeEscalation || s.Privileged, c.Name)
		require.True(t, s.ReadOnlyRootFilesystem, c.Name)
		require.Equal(t, []string{"ALL"}, s.Capabilities.Drop, c.Name)
		require.Empty(t, s.Capabilities.Add, c.Name)
		for _, of := range []map[string]string{c.Resources.Requests, c.Resources.Limits} {
			require.NotEmpty(t, of["cpu"], c.Name)
			require.NotEmpty(t, of["memory"], c.Name)
		}
		for _, m := range c.VolumeMounts {
			require.True(t, m.ReadOnly, m.Name)
			require.Contains(t, volumes, m.Name)
		}
		for _, port := range c.Ports {
			ports[port.Name] = port.ContainerPort
		}
		if c.Name == "web" {
			continue // stands for any program
		}
		for _, is := range []struct {
			probe
			path string
		}{{c.StartupProbe, "/healthz"}, {c.LivenessProbe, "/healthz"}, {c.ReadinessProbe, "/readyz"}} {
			require.Equal(t, is.path, is.HTTPGet.Path, c.Name)
			require.Contains(t, ports, is.HTTPGet.Port, c.Name)
		}
	}
}

// The configuration in the manifests is good, and fits what is around it.
func TestManifestConfiguration(t *testing.T) {
	t.Parallel()
	all := manifests(t, "sidecar.yaml")
	require.Equal(t, "ConfigMap", all[0].Kind)
	f, err := config.Parse("/config/sidecar.yaml", []byte(all[0].Data["sidecar.yaml"]))
	require.NoError(t, err)
	p := all[1].Spec.Template.Spec
	side := p.InitContainers[0]
	require.Equal(t, []string{"proxy", "run", "/config/sidecar.yaml"}, side.Args)
	require.Equal(t, ":8443", f.Proxies[0].Listen)
	require.Equal(t, ":9090", f.Admin.Listen)
	require.Equal(t, 8443, side.Ports[0].ContainerPort)
	require.Equal(t, 9090, side.Ports[1].ContainerPort)
	require.Greater(t, float64(p.TerminationGracePeriodSeconds), (f.Shutdown.Delay + f.Shutdown.Timeout).Seconds())
	for _, name := range append(f.Reloaded(), f.Proxies[0].Verify.Policy) {
		mounted := slices.ContainsFunc(side.VolumeMounts, func(m mount) bool {
			return strings.HasPrefix(name, m.MountPath+"/")
		})
		require.True(t, mounted, name)
	}
}

// directives of a unit, in order.
func directives(t *testing.T, name string) (lines []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deployed, "systemd", name))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestUnit(t *testing.T) {
	t.Parallel()
	got := directives(t, "expat-proxy.service")
	for _, want := range []string{
		"DynamicUser=yes", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "AmbientCapabilities=", "ProtectSystem=strict", "ProtectHome=yes",
		"PrivateTmp=yes", "PrivateDevices=yes", "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "RestrictNamespaces=yes",
		"MemoryDenyWriteExecute=yes", "LockPersonality=yes", "SystemCallFilter=@system-service", "LimitCORE=0",
		"ExecStart=/usr/local/bin/expat proxy run /etc/expat/sidecar.yaml", "ExecReload=/bin/kill -HUP $MAINPID",
	} {
		require.Contains(t, got, want)
	}
	require.Contains(t, directives(t, "tee.conf"), "DeviceAllow=/dev/tpmrm0 rw")
	b, err := os.ReadFile(filepath.Join(deployed, "systemd", "sidecar.yaml"))
	require.NoError(t, err)
	_, err = config.Parse("/etc/expat/sidecar.yaml", b)
	require.NoError(t, err)
}

// systemd's own opinion of the unit.
func TestUnitVerified(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("this test needs systemd-analyze: apt-get install -y --no-install-recommends systemd")
	}
	b, err := os.ReadFile(filepath.Join(deployed, "systemd", "expat-proxy.service"))
	require.NoError(t, err)
	dir := t.TempDir()
	unit := filepath.Join(dir, "expat-proxy.service")
	require.NoError(t, os.WriteFile(unit, bytes.ReplaceAll(b, []byte("/usr/local/bin/expat"), []byte("/bin/true")), 0o644))
	drop := filepath.Join(dir, "expat-proxy.service.d")
	tee, err := os.ReadFile(filepath.Join(deployed, "systemd", "tee.conf"))
	require.NoError(t, err)
	for range 2 { // without the drop-in, and with it
		out, err := exec.Command(analyze, "verify", unit).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Empty(t, string(out))
		out, err = exec.Command(analyze, "security", "--offline=yes", "--no-pager", "--threshold=20", unit).CombinedOutput()
		require.NoError(t, err, "an exposure above 2.0 of 10:\n%s", out)
		require.NoError(t, os.MkdirAll(drop, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(drop, "tee.conf"), tee, 0o644))
	}
}
