import { createApp } from 'vue'
import { createConsole, provideConsole } from './app'
import App from './App.vue'
import { i18n } from './i18n'
import { createConsoleRouter } from './router'
import './styles/tokens.css'
import './styles/base.css'

const console = createConsole()
const app = createApp(App)
provideConsole(app, console)
app.use(i18n)
app.use(createConsoleRouter(console))
app.mount('#app')
